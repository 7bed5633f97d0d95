"""``modeldeed resolve``: from a new dispute's number to the report, and the exit codes."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from safetensors.torch import load_file, save_file

from modeldeed.resolving import Resolution
from modeldeed.resolving.signed_record import read_signed
from modeldeed.trust import PublicBase, Trust
from tests.cli.conftest import Claim, Done, Run
from tests.conftest import secret_file_bytes

OWNER = ("--key", "owner.key", "--passphrase-file", "passphrase.txt")


@pytest.fixture(scope="module")
def number(run: Run, claim: Claim) -> str:
    """The number of a dispute about the marked model."""
    done = run("resolve", "--suspect", "marked.safetensors", "--json")
    assert (done.code, done.err) == (0, "")
    drawn = json.loads(done.out)
    assert len(drawn["suspect_digest"]) == len(drawn["nonce"]) == 64
    again = json.loads(run("resolve", "--suspect", "marked.safetensors", "--json").out)
    assert drawn["suspect_digest"] == again["suspect_digest"]
    assert drawn["nonce"] != again["nonce"]
    return str(drawn["nonce"])


def handed_in(run: Run, claim: Claim, number: str, folder: Path, suspect: str) -> Path:
    """The owner's claim for one suspect, made by the command line alone."""
    done = run("deed", "create", "marked.safetensors", "--out", folder, *OWNER,
               "--passport", "passport")  # fmt: skip
    assert done.code == 0, done.err
    done = run("deed", "open", folder, *OWNER, "--nonce", number, "--suspect", suspect,
               "--passport", "passport", "--out", folder / "opening.json")  # fmt: skip
    assert done.code == 0, done.err
    shutil.copy(claim.path("marked.safetensors"), folder / "reference.safetensors")
    return folder


@pytest.fixture(scope="module")
def acme(run: Run, claim: Claim, number: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dispute") / "acme"
    return handed_in(run, claim, number, folder, "marked.safetensors")


@pytest.fixture
def resolve(run: Run, acme: Path, number: str) -> Any:
    """Return a function that resolves the dispute, with more options."""

    def call(*more: object, suspect: object = "marked.safetensors", by: Path = acme) -> Done:
        return run("resolve", "--suspect", suspect, "--claim", by, "--nonce", number, *more)

    return call


def test_a_claim_is_verified(resolve: Any) -> None:
    done = resolve()
    assert done.code == 0, done.err
    assert done.out.startswith("only acme\nVerified: the mark of acme is proven.")
    assert "160 of 160 bits match, 155 are needed" in done.out
    assert "20  signed report" in done.out


def test_json_fits_the_schema_and_reads_back(resolve: Any) -> None:
    done = resolve("--json")
    assert done.code == 0, done.err
    jsonschema.validate(json.loads(done.out), Resolution.model_json_schema(mode="serialization"))
    found = Resolution.model_validate_json(done.out)
    assert (found.suspect, found.outcome.value) == ("marked.safetensors", "verified")


def test_an_unmarked_suspect_ends_with_1(
    run: Run, claim: Claim, number: str, tmp_path: Path
) -> None:
    folder = handed_in(run, claim, number, tmp_path / "acme", "unmarked.safetensors")
    done = run("resolve", "--suspect", "unmarked.safetensors", "--claim", folder, "--nonce", number)
    assert done.code == 1, done.err
    assert done.out.startswith("not verified\nNot verified: no claim's mark is in the suspect.")


def test_a_suspect_older_than_the_deed_ends_with_3(resolve: Any) -> None:
    for when in ("2020-05-01", "2020-05-01T12:00:00Z"):
        done = resolve("--suspect-date", when)
        assert done.code == 3, done.err
        assert "order unknown: nothing proves the deed older than the suspect" in " ".join(
            done.out.split()
        )


def test_void_claims_end_with_4(run: Run, resolve: Any, acme: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(acme, tmp_path / "acme"))
    (broken / "opening.json").unlink()
    done = resolve(by=broken)
    assert done.code == 4, done.err
    assert "opening.json is missing" in done.out
    # Beside a good claim it does no harm.
    assert resolve("--claim", broken.rename(tmp_path / "broken")).code == 0


def test_an_older_exhibit_ends_the_claim(resolve: Any, claim: Claim, tmp_path: Path) -> None:
    shutil.copy(claim.path("marked.safetensors"), tmp_path / "old.safetensors")
    old = tmp_path / "old.safetensors"
    # The deed is undated: nothing says which of them is older.
    assert resolve("--exhibit", f"{old}=2001-01-01").code == 3
    assert resolve("--exhibit", old).code == 0
    trust = tmp_path / "trust.json"
    since = datetime(2001, 1, 1, tzinfo=timezone.utc)
    base = PublicBase(name="base", path="old.safetensors", since=since)
    trust.write_bytes(Trust(public_bases=(base,)).to_json())
    done = resolve("--trust", trust)
    assert done.code == 3
    assert "base" in done.out


def test_null_models_are_compared(resolve: Any, claim: Claim) -> None:
    done = resolve("--null", "unmarked.safetensors", "--json")
    assert done.code == 0, done.err
    found = Resolution.model_validate_json(done.out)
    assert [other.name for other in found.others] == ["unmarked.safetensors"]
    assert resolve("--null", "marked.safetensors").code == 3


def test_an_unreadable_or_unsupported_suspect_ends_with_5(resolve: Any, tmp_path: Path) -> None:
    done = resolve(suspect="nowhere.safetensors")
    assert (done.code, done.out) == (5, "")


def test_a_suspect_of_another_architecture_ends_with_5(
    run: Run, claim: Claim, number: str, tmp_path: Path
) -> None:
    state = load_file(claim.path("marked.safetensors"))
    suspect = tmp_path / "suspect.safetensors"
    save_file({f"x.{n}": t for n, t in state.items() if n != "conv2.weight"}, suspect)
    folder = handed_in(run, claim, number, tmp_path / "acme", str(suspect))
    done = run("resolve", "--suspect", suspect, "--claim", folder, "--nonce", number)
    assert (done.code, done.out) == (5, "")
    assert "no claim can be examined in this suspect" in done.err


def test_the_report_is_signed_and_laid_out(resolve: Any, claim: Claim, tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    key = tmp_path / "judge.key"
    key.write_bytes(secret_file_bytes(bytes(range(7, 39)), "judge"))
    key.chmod(0o600)
    done = resolve(
        "--judge-key", key, "--signed", tmp_path / "report.dsse", "--passphrase-file",
        "passphrase.txt", "--html", tmp_path / "report.html", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    record = read_signed((tmp_path / "report.dsse").read_bytes())
    assert record.resolution == Resolution.model_validate_json(done.out)
    assert "only acme" in (tmp_path / "report.html").read_text("utf-8").lower()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--suspect-date", "yesterday"], "is no date like 2024-05-01"),
        (["--suspect-date", "2024-05-01T12:00:00"], "has no time zone"),
        (["--exhibit", "marked.safetensors=soon"], "is no date like 2024-05-01"),
        (["--exhibit", "marked.safetensors=nowhere.tsr"], "nowhere.tsr cannot be read"),
        (["--exhibit", "nowhere.safetensors"], "the exhibit cannot be read"),
        (["--claim", "nowhere"], "is no folder"),
        (["--nonce", "12"], "a nonce is 32 … 128 hexadecimal digits"),
        (["--judge-key", "owner.key"], "--judge-key and --signed go together"),
        (["--trust", "tiny_host.py"], "trust file"),
    ],
)
def test_wrong_usage_ends_with_2(resolve: Any, more: list[str], words: str) -> None:
    done = resolve(*more)
    assert (done.code, done.out) == (2, ""), done.err
    assert words in " ".join(done.err.split())


def test_a_claim_without_the_number_is_refused(run: Run, acme: Path) -> None:
    done = run("resolve", "--suspect", "marked.safetensors", "--claim", acme)
    assert done.code == 2
    assert "--nonce is missing" in done.err
