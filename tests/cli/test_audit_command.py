"""``modeldeed audit`` and ``modeldeed report``: results kept, taken up, and told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Claim, Run

pytest.importorskip("sklearn")


def base(claim: Claim, out: Path) -> list[object]:
    return ["audit", "--model", "tiny_host:build", "--weights", claim.path("marked.safetensors"),
            "--data", "digits", "--samples", "64", "--out", out, "--wrong-keys", "9",
            "--attack", "prune", "--attack", "permute", "--attack", "average",
            "--strengths", "2"]  # fmt: skip


def marks(claim: Claim) -> list[object]:
    return ["--passport", claim.path("passport"), "--key", claim.path("owner.key"),
            "--passphrase-file", claim.path("passphrase.txt")]  # fmt: skip


def test_an_audit_is_told_kept_and_reported(run: Run, claim: Claim, tmp_path: Path) -> None:
    out = tmp_path / "audit"
    exhibit = ["--unmarked", claim.path("unmarked.safetensors")]
    done = run(*base(claim, out), *marks(claim), *exhibit, "--json")
    assert (done.code, done.err) == (0, "")
    told = json.loads(done.out)
    assert told["cells"] == 5
    survival = told["survival"]["permute"]
    assert survival["passport"] == "removed"
    assert survival["passport, aligned"] == "survives"
    assert told["cheapest"]["passport"].startswith("permute (all): no training, no data")
    assert [left["attack"] for left in told["left_out"]] == ["average"]
    times = {path: path.stat().st_mtime_ns for path in out.glob("cells/*.json")}
    again = run(*base(claim, out), *marks(claim), *exhibit)
    assert again.code == 0
    assert "permute" in again.out
    assert "left out: average: needs another model" in again.err
    assert {path: path.stat().st_mtime_ns for path in out.glob("cells/*.json")} == times

    page, text, latex = (tmp_path / f"a.{end}" for end in ("html", "md", "tex"))
    done = run("report", out, f"other={out}", "--html", page, "--markdown", text,
               "--latex", latex)  # fmt: skip
    assert (done.code, done.out) == (0, "")
    assert [line.removesuffix(" is written") for line in done.err.splitlines()] == [
        str(path) for path in (page, text, latex)
    ]
    assert "<svg" in page.read_text("utf-8")
    assert "passport (other)" in text.read_text("utf-8")
    assert r"\toprule" in latex.read_text("utf-8")
    shown = run("report", out)
    assert "| permute | removed (all; ±0 points) | survives (at least 15" in shown.out
    next(out.glob("cells/permute-all-*.json")).unlink()
    assert "1 cells are still to be computed" in run("report", out).err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "give marks"),
        (["--deed", "x.deed"], "deed and opening go together"),
        (["--seeds", "a"], "no list of numbers"),
        (["--carriers", "digits"], "--carriers go with --plugin"),
        (["--unmarked", "x.safetensors"], "unmarked goes with a passport"),
    ],
)
def test_mistakes_are_usage(
    run: Run, claim: Claim, tmp_path: Path, options: list[str], told: str
) -> None:
    done = run(*base(claim, tmp_path / "audit"), *options)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert not (tmp_path / "audit").exists()


def test_reports_of_nothing_are_refused(run: Run, tmp_path: Path) -> None:
    done = run("report", tmp_path)
    assert done.code == 2
    assert "audit.json" in done.err
    twice = run("report", f"a={tmp_path}", f"a={tmp_path}")
    assert twice.code == 2
