"""``modeldeed read``: it prints what stands in the weights, and never verifies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from modeldeed import Passport
from modeldeed.passport.evidence import files
from tests.cli.conftest import HOST, Claim, Run, planted


@pytest.fixture(scope="module")
def tagged(claim: Claim) -> Path:
    """Return the folder of a passport with a message; its weights are tagged.safetensors."""
    scope: dict[str, Any] = {}
    exec(HOST, scope)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        host = scope["build"]()
    passport = Passport.issue(
        host, claim.owner, example=scope["example"](), label="tagged", message="Acm"
    )
    planted(passport, claim.path("tagged"))
    save_file(host.state_dict(), claim.path("tagged.safetensors"))
    return claim.path("tagged")


def arguments(weights: str = "tagged.safetensors", **options: Any) -> list[str]:
    chosen = {
        "passport": "tagged",
        "key": "owner.key",
        "passphrase-file": "passphrase.txt",
        **options,
    }
    pairs = [[f"--{name}", str(value)] for name, value in chosen.items() if value is not None]
    return ["read", weights, *[word for pair in pairs for word in pair]]


def test_the_message_alone_is_on_standard_output(run: Run, tagged: Path) -> None:
    done = run(*arguments())
    assert (done.code, done.out) == (0, "Acm\n"), done.err
    assert "0 of 5 symbols were corrected; 0 of 160 bits" in done.err
    assert "reads and does not verify" in done.err


def test_as_json(run: Run, tagged: Path) -> None:
    done = run(*arguments(), "--json")
    found = json.loads(done.out)
    assert (done.code, done.err) == (0, "")
    assert found["schema_version"] == "modeldeed-message/v1"
    assert (found["message"], found["committed"], found["verifies"]) == ("Acm", True, False)
    assert (found["symbols"], found["symbols_corrected"], found["bits_flipped"]) == (5, 0, 0)
    assert found["suspect"] == "tagged.safetensors"
    assert len(found["suspect_digest"]) == len(found["anchor_digest"]) == 64


@pytest.mark.parametrize(
    ("weights", "options", "words"),
    [
        ("unmarked.safetensors", {}, "no message can be read"),
        ("marked.safetensors", {}, "no message can be read"),
        ("tagged.safetensors", {"key": "stranger.key"}, "the key is not this passport's"),
        ("marked.safetensors", {"passport": "passport"}, "without a message"),
    ],
    ids=["unmarked", "marked otherwise", "another key", "no message"],
)
def test_nothing_readable_prints_nothing(
    run: Run, tagged: Path, weights: str, options: dict[str, str], words: str
) -> None:
    done = run(*arguments(weights, **options))
    assert (done.code, done.out) == (1, "")
    assert words in done.err
    as_json = run(*arguments(weights, **options), "--json")
    assert as_json.code == 1
    assert (json.loads(as_json.out)["message"], as_json.err) == (None, "")


def test_another_message_in_the_manifest_is_invalid(
    run: Run, claim: Claim, tagged: Path, tmp_path: Path
) -> None:
    manifest = files.load_manifest(tagged).model_copy(update={"message": "Bcm"})
    signed = manifest.signed_by(claim.owner, state=manifest.state)
    (tmp_path / "passport.json").write_bytes(signed.to_json())
    done = run(*arguments(passport=tmp_path))
    assert (done.code, done.out) == (4, "")
    assert "not the one its anchor commits to" in done.err


def test_what_is_no_suspect_and_what_is_no_usage(run: Run, tagged: Path) -> None:
    done = run(*arguments("nowhere.safetensors"))
    assert (done.code, done.out) == (5, "")
    assert run(*arguments("few.safetensors", key="nowhere.key")).code == 2
    assert run("read", "tagged.safetensors").code == 2


def test_the_tagged_model_verifies_as_ever(run: Run, claim: Claim, tagged: Path) -> None:
    done = run(*claim.verify("tagged.safetensors", passport="tagged"))
    assert done.code == 0, done.err
    assert done.out.startswith("Verified: 160 of 160 bits match")
