"""Claims whose passports have files beside the manifest: trained state, factors of a reading."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from modeldeed.deed import Deed
from modeldeed.passport import Passport
from modeldeed.passport.evidence import files
from modeldeed.resolving import Resolution, resolve
from modeldeed.resolving.words import Void
from modeldeed.results import Verdict
from tests.resolving.world import NONCE, Party, host, owner, saved, state_of

EXAMPLE = torch.rand(2, 3, 10, 10, generator=torch.Generator().manual_seed(2))


def trained(passport: Passport, steps: int = 30) -> None:
    optimizer = torch.optim.Adam(passport.host.parameters(), lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        passport.signature_loss().backward()
        optimizer.step()


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Party, Path]:
    """A passport that is read where a layer's inputs vary, and its folder."""
    folder = tmp_path_factory.mktemp("coloured")
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model: nn.Module = host(12)
        passport = Passport.issue(model, owner(31), example=EXAMPLE, reading="coloured")
        trained(passport)
    passport.save(folder / "passport")
    manifest = files.load_manifest(folder / "passport")
    state = state_of(model)
    deed = Deed.create(
        saved(state, folder / "m.safetensors"), owner=owner(31), marks=[folder / "passport"]
    )
    return Party("coloured", owner(31), state, manifest, deed), folder / "passport"


def resolved(party: Party, folder: Path, passport: Path | None) -> Resolution:
    suspect = saved(party.state, folder / "suspect.safetensors")
    claim = party.hand_in(folder / "claims", suspect)
    if passport is not None:
        (claim / "passport").mkdir()
        for path in passport.iterdir():
            (claim / "passport" / path.name).write_bytes(path.read_bytes())
    return resolve([claim], suspect, nonce=NONCE)


def test_a_coloured_reading_needs_its_factors(coloured: tuple[Party, Path], tmp_path: Path) -> None:
    party, passport = coloured
    found = resolved(party, tmp_path / "with", passport)
    claim = found.claim("coloured")
    assert claim.verdict is Verdict.VERIFIED, claim.reason
    assert claim.signature is not None
    assert claim.signature.reading.startswith("coloured")
    without = resolved(party, tmp_path / "without", None)
    assert without.claim("coloured").void is Void.FORGED
    assert "factors" in without.claim("coloured").reason


def test_another_passports_folder_is_refused(coloured: tuple[Party, Path], tmp_path: Path) -> None:
    party, passport = coloured
    other = tmp_path / "other"
    other.mkdir()
    for path in passport.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    text = json.loads((other / "passport.json").read_text())
    (other / "passport.json").write_text(json.dumps({**text, "label": "another"}))
    found = resolved(party, tmp_path / "1", other)
    assert found.outcome is Verdict.EVIDENCE_INVALID
