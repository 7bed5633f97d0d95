"""The deed's commands: the common case from making to verifying, and their exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import modeldeed
from modeldeed.cli import ExitCode
from modeldeed.trust import PinnedAuthority, Trust
from tests.cli.conftest import PASSPHRASE, Claim, Run
from tests.timestamping.authorities import LocalAuthority, make_authority

NONCE = "5a" * 16


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalAuthority, LocalAuthority]:
    folder = tmp_path_factory.mktemp("authorities")
    return make_authority(folder, "one"), make_authority(folder, "two")


def keyed(claim: Claim) -> list[Any]:
    return ["--key", claim.path("owner.key"), "--passphrase-file", claim.path("passphrase.txt")]


@pytest.fixture(scope="module")
def folder(
    run: Run,
    claim: Claim,
    authorities: tuple[LocalAuthority, LocalAuthority],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder with model.deed, dated by two authorities, opening.json and trust.json."""
    place: Path = tmp_path_factory.mktemp("deed")
    made = run(
        "deed", "create", claim.path("marked.safetensors"), "--out", place / "model.deed",
        *keyed(claim), "--passport", claim.path("passport"),
    )  # fmt: skip
    assert made.code == ExitCode.OK, made.err
    assert "passport" in made.out
    request = place / "deed.tsq"
    assert run("deed", "timestamp", place / "model.deed", "--request", request).code == ExitCode.OK
    for number, authority in enumerate(authorities):
        (place / f"{number}.tsr").write_bytes(authority.stamp(request.read_bytes()))
    pinned = tuple(
        PinnedAuthority(
            name=a.trusted.authority.name,
            policy=a.policy,
            certificates=a.trusted.to_pem().decode(),
        )
        for a in authorities
    )
    key = claim.owner.identity.public_key.hex()
    (place / "trust.json").write_bytes(
        Trust(owners={key: "Acme Vision"}, authorities=pinned).to_json()
    )
    done = run(
        "deed", "timestamp", place / "model.deed", "--response", place / "0.tsr",
        "--response", place / "1.tsr", "--request", request, "--trust", place / "trust.json",
    )  # fmt: skip
    assert done.code == ExitCode.OK, done.err
    assert "2 timestamps; dated" in done.err
    opened = run(
        "deed", "open", place / "model.deed", *keyed(claim), "--nonce", NONCE,
        "--suspect", claim.path("marked.safetensors"), "--passport", claim.path("passport"),
        "--out", place / "opening.json",
    )  # fmt: skip
    assert opened.code == ExitCode.OK, opened.err
    assert opened.out == ""
    return place


def verified(run: Run, claim: Claim, folder: Path, weights: str, *more: Any) -> Any:
    return run(
        "verify", claim.path(weights), "--deed", folder / "model.deed",
        "--opening", folder / "opening.json", "--nonce", NONCE,
        "--trust", folder / "trust.json", *more, "--json",
    )  # fmt: skip


def test_a_deed_verifies_its_model(run: Run, claim: Claim, folder: Path) -> None:
    reference = ("--reference", claim.path("marked.safetensors"))
    done = verified(run, claim, folder, "marked.safetensors", *reference)
    assert done.code == ExitCode.OK, done.err
    report = json.loads(done.out)
    assert report["verdict"] == "verified"
    assert report["warnings"] == []


def test_a_deed_for_another_suspect_or_dispute_is_invalid(
    run: Run, claim: Claim, folder: Path
) -> None:
    done = verified(run, claim, folder, "unmarked.safetensors")
    assert done.code == ExitCode.EVIDENCE_INVALID
    assert "opening is for the suspect" in done.err
    done = verified(run, claim, folder, "marked.safetensors", "--nonce", "00" * 16)
    assert done.code == ExitCode.EVIDENCE_INVALID
    reference = ("--reference", claim.path("unmarked.safetensors"))
    done = verified(run, claim, folder, "marked.safetensors", *reference)
    assert done.code == ExitCode.EVIDENCE_INVALID
    assert "void" in done.err


def test_check_and_show_say_what_they_saw(run: Run, claim: Claim, folder: Path) -> None:
    deed = folder / "model.deed"
    shown = json.loads(run("deed", "show", deed, "--json").out)
    assert shown["predicate"]["format"] == "modeldeed-deed/v1"
    assert shown["timestamps"] == 2
    arguments = ("--trust", folder / "trust.json", "--model", claim.path("marked.safetensors"))
    done = run("deed", "check", deed, *arguments, "--json")
    assert done.code == ExitCode.OK
    found = json.loads(done.out)
    assert (found["valid"], found["owner"], found["dated"]["word"]) == (
        True,
        "Acme Vision",
        "dated",
    )
    done = run("deed", "check", deed, *arguments)
    assert "Nothing contradicts this deed" in done.out
    assert "Not checked" in done.out
    done = run("deed", "check", deed, "--model", claim.path("unmarked.safetensors"))
    assert done.code == ExitCode.EVIDENCE_INVALID
    assert "another one" in done.out


def test_a_changed_deed_ends_with_4(run: Run, folder: Path, tmp_path: Path) -> None:
    deed = Path(shutil.copytree(folder / "model.deed", tmp_path / "model.deed"))
    data = (deed / "deed.json").read_bytes()
    (deed / "deed.json").write_bytes(data[:-200] + b"A" + data[-199:])
    for command in ("show", "check"):
        done = run("deed", command, deed)
        assert done.code == ExitCode.EVIDENCE_INVALID
        assert done.out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("deed", "create", "marked.safetensors", "--out", "x.deed"),
        ("deed", "show", "nowhere.deed"),
        ("deed", "timestamp", "{deed}"),
        ("deed", "open", "{deed}", "--nonce", NONCE, "--out", "x"),
        ("verify", "marked.safetensors"),
        ("verify", "marked.safetensors", "--deed", "{deed}"),
        ("verify", "marked.safetensors", "--deed", "{deed}", "--opening", "o", "--key", "k"),
        ("verify", "marked.safetensors", "--passport", "passport", "--nonce", NONCE),
        (
            "verify",
            "marked.safetensors",
            "--passport",
            "passport",
            "--key",
            "owner.key",
            "--unmarked",
            "unmarked.safetensors",
        ),
        ("verify", "marked.safetensors", "--deed", "{deed}", "--opening", "o", "--model", "m:f"),
    ],
)
def test_wrong_usage_ends_with_2(run: Run, folder: Path, arguments: tuple[str, ...]) -> None:
    done = run(*(str(a).format(deed=folder / "model.deed") for a in arguments))
    assert done.code == ExitCode.USAGE, done.err
    assert done.out == ""


def test_an_upstream_owner_consents_to_a_derived_model(
    run: Run, claim: Claim, folder: Path, tmp_path: Path
) -> None:
    """The stranger marks nothing of his own here: any mark of his will do for a deed's form."""
    bob = modeldeed.Owner.load(claim.path("stranger.key"), PASSPHRASE)
    triggers = modeldeed.TriggerSet.issue(bob, example=torch.zeros(1, 1, 8, 8), classes=10)
    triggers.save(tmp_path / "triggers")
    upstream, consent = folder / "model.deed", tmp_path / "consent.json"
    asked = [
        "deed", "license", upstream, *keyed(claim), "--terms", "CC-BY-4.0", "--out", consent,
        "--licensee",
    ]  # fmt: skip
    assert run(*asked, "ff").code == ExitCode.USAGE
    assert run(*asked, bob.identity.public_key.hex()).code == ExitCode.OK
    again = run(*asked, bob.identity.public_key.hex())
    assert again.code == ExitCode.USAGE
    assert "never overwritten" in again.err
    made = run(
        "deed", "create", claim.path("marked.safetensors"), "--out", tmp_path / "bob.deed",
        "--key", claim.path("stranger.key"), "--passphrase-file", claim.path("passphrase.txt"),
        "--triggers", tmp_path / "triggers", "--derived-from", upstream,
        "--countersignature", consent,
    )  # fmt: skip
    assert made.code == ExitCode.OK, made.err
    done = run("deed", "check", tmp_path / "bob.deed", "--json")
    found = json.loads(done.out)
    assert done.code == ExitCode.OK
    assert any("countersignature" in what for what in found["checked"])
