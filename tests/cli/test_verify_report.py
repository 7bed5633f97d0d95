"""``modeldeed verify``: what it prints, and that it writes nothing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import jsonschema
import pytest
import torch
from safetensors.torch import save_file

from modeldeed import Report, verify
from tests.cli.conftest import Claim, Run

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "report.schema.json").read_text("utf-8"))


def listing(folder: Path) -> dict[str, tuple[int, str]]:
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder",
        )
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


@pytest.mark.parametrize(
    ("weights", "key", "code"),
    [
        ("marked.safetensors", "owner.key", 0),
        ("unmarked.safetensors", "owner.key", 1),
        ("marked.safetensors", "stranger.key", 1),
    ],
)
def test_json_is_one_object_of_the_published_schema(
    run: Run, claim: Claim, weights: str, key: str, code: int
) -> None:
    done = run(*claim.verify(weights, key=key), "--json")
    assert (done.code, done.err) == (code, "")
    assert done.out.count("\n") == 1
    fields = json.loads(done.out)
    jsonschema.Draft202012Validator(SCHEMA).validate(fields)
    report = Report.model_validate_json(done.out)
    assert report.suspect == weights
    data = claim.path(weights).read_bytes()
    assert report.suspect_digest == hashlib.sha256(data).hexdigest()
    assert report.branch is None


def test_the_command_says_what_the_library_says(run: Run, claim: Claim) -> None:
    done = run(*claim.verify(), "--json")
    report = verify(
        claim.path("marked.safetensors"), passport=claim.path("passport"), owner=claim.owner
    )
    ours = report.model_dump(exclude={"suspect"})
    assert Report.model_validate_json(done.out).model_dump(exclude={"suspect"}) == ours
    assert report.identity == claim.owner.identity.fingerprint


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_verifying_writes_nothing(run: Run, claim: Claim, more: list[str]) -> None:
    before = listing(claim.folder)
    assert run(*claim.verify(), *more).code == 0
    assert listing(claim.folder) == before


def test_the_text_shows_every_layer_and_the_price(run: Run, claim: Claim) -> None:
    done = run(*claim.verify())
    for words in ("norm1", "norm2", "norm3", "155 are needed", "log10 p -48.2",
                  claim.owner.identity.fingerprint):  # fmt: skip
        assert words in done.out
    assert "\x1b" not in done.out, "no colors into a pipe"


def test_words_of_the_specification_only(run: Run, claim: Claim) -> None:
    for key in ("owner.key", "stranger.key"):
        done = run(*claim.verify(key=key))
        for word in ("pirate", "thief", "stolen"):
            assert word not in done.out.lower() + done.err.lower()


@pytest.mark.parametrize("rows", [3, 40])
def test_unreadable_rows_still_give_a_verdict_and_a_warning(
    run: Run, claim: Claim, tmp_path: Path, rows: int
) -> None:
    state = {name: tensor.clone() for name, tensor in claim.state.items()}
    state["conv2.weight"][:rows] = torch.nan
    path = tmp_path / "nan.safetensors"
    save_file(state, path)
    done = run(*claim.verify(str(path)), "--json")
    report = Report.model_validate_json(done.out)
    assert (report.signature.bits, report.signature.matches) == (160, 160 - rows)
    assert done.code == (0 if rows == 3 else 3)
    assert any(
        f"unreadable bits, counted as mismatches: {rows}" in warning for warning in report.warnings
    )
    text = run(*claim.verify(str(path)))
    assert text.code == done.code
    assert f"unreadable bits, counted as mismatches: {rows}" in " ".join(
        (text.out + text.err).split()
    )


# --- level 2 ---


@pytest.fixture(scope="module")
def level_two(claim: Claim) -> list[str]:
    pytest.importorskip("sklearn")
    options = {"model": "tiny_host:build", "data": "digits", "decoys": 5, "images": 32}
    return claim.verify(**options)


def test_level_two_never_decides(run: Run, claim: Claim, level_two: list[str]) -> None:
    """This host was never trained, so its branch says nothing; the signature still decides."""
    before = listing(claim.folder)
    done = run(*level_two, "--json")
    assert done.code == 0, done.err
    report = Report.model_validate_json(done.out)
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(done.out))
    assert report.verdict.value == "verified"
    branch = report.branch
    assert branch is not None
    assert (branch.calibration_images, branch.test_images) == (32, 32)
    assert branch.planned_decoys == 5
    assert 1 <= len(branch.decoys) <= 5
    assert branch.word.value != "supports"
    assert "level 2" in done.err, "progress goes to standard error"
    assert listing(claim.folder) == before


def test_level_two_shows_in_the_text(run: Run, level_two: list[str]) -> None:
    done = run(*level_two, "--normalize")
    assert done.code == 0, done.err
    assert "Private branch" in done.out
    assert "level 2" not in done.out


@pytest.mark.parametrize(
    ("data", "words"), [("no-such-data", "no-such-data"), ("nowhere.npz", "nowhere.npz")]
)
def test_unknown_data_are_told(run: Run, claim: Claim, data: str, words: str) -> None:
    done = run(*claim.verify(model="tiny_host:build", data=data))
    assert (done.code, done.out) == (2, "")
    assert words in done.err


def test_another_architecture_is_told(run: Run, claim: Claim) -> None:
    done = run(*claim.verify(model="tiny_host:without_norms", data="digits", decoys=1))
    assert (done.code, done.out) == (5, "")
    assert "suspect's architecture?" in done.err
