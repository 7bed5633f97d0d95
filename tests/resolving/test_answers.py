"""Claims to models that are asked: plug-ins, alone and stacked, and trigger sets."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from modeldeed.deed import Deed
from modeldeed.errors import SuspectError
from modeldeed.owner import Owner
from modeldeed.plugin.claim import PluginClaim
from modeldeed.plugin.records import FusionManifest
from modeldeed.resolving import Resolution, resolve, suspect_digest
from modeldeed.resolving.results import StepStatus
from modeldeed.resolving.words import Presence
from modeldeed.results import Verdict
from tests.plugin.answering import carriers, fusion
from tests.resolving.conftest import World
from tests.resolving.world import NONCE, Party, days, owner, party

JUDGES = carriers(count=80, seed=9)
BATCH = 64


class Fused(nn.Module):
    """A model with detectors that know samples by heart: one table for each plug-in."""

    def __init__(self, tables: int, classes: int = 10) -> None:
        super().__init__()
        self.classes = classes
        for number in range(tables):
            self.register_buffer(f"samples{number}", torch.zeros(BATCH, 3 * 16 * 16))
            self.register_buffer(f"labels{number}", torch.zeros(BATCH, dtype=torch.int64))
        self.tables = tables

    def forward(self, inputs: Tensor) -> Tensor:
        seen = inputs.flatten(1)
        best = (seen.sum(1) * 255).long() % self.classes
        for number in range(self.tables):
            known = getattr(self, f"samples{number}")
            apart = torch.cdist(seen, known, compute_mode="donot_use_mm_for_euclid_dist")
            known = apart.min(1).values < 1e-2
            labels = getattr(self, f"labels{number}")[apart.argmin(1)]
            best = torch.where(known, labels, best)
        return torch.nn.functional.one_hot(best, self.classes).float()


def fused(*claims: tuple[FusionManifest, Owner]) -> Fused:
    model = Fused(len(claims))
    for number, (manifest, claimant) in enumerate(claims):
        batch = PluginClaim.of(manifest, claimant, JUDGES).batch(0)
        getattr(model, f"samples{number}").copy_(batch.inputs.flatten(1) / 255)
        getattr(model, f"labels{number}").copy_(batch.labels)
    return model


MODELS = (Fused(1), Fused(2))


@pytest.fixture(scope="module")
def stacked(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Party, Party]:
    """Gamma fused its plug-in beside a model; delta fused another beside that."""
    folder = tmp_path_factory.mktemp("stacked")
    one = fusion(owner=owner(21), root="3" * 64)
    two = fusion(owner=owner(22), root="4" * 64)
    first = fused((one, owner(21))).state_dict()
    both = fused((one, owner(21)), (two, owner(22))).state_dict()
    dates = [[(a, days(day)) for a in world.authorities] for day in (1, 20)]
    return (
        party(folder, "gamma", owner(21), first, one, dates[0]),
        party(folder, "delta", owner(22), both, two, dates[1]),
    )


def handed_in(
    parties: tuple[Party, ...], folder: Path, suspect: Path, **options: object
) -> list[Path]:
    return [each.hand_in(folder, suspect, **options) for each in parties]


def resolved(
    world: World, parties: tuple[Party, ...], folder: Path, **options: object
) -> Resolution:
    suspect = folder / "suspect.safetensors"
    save_file(parties[-1].state, suspect)
    claims = handed_in(parties, folder / "claims", suspect)
    return resolve(
        claims, suspect, trust=world.trust, nonce=NONCE, model=MODELS, carriers=JUDGES, **options
    )


def test_two_stacked_plug_ins_are_both_verified(
    world: World, stacked: tuple[Party, Party], tmp_path: Path
) -> None:
    found = resolved(world, stacked, tmp_path, transcripts=None)
    assert {claim.name: claim.verdict.value for claim in found.claims} == {
        "gamma": "verified",
        "delta": "verified",
    }
    assert [relation.words for relation in found.relations] == ["gamma upstream of delta"]
    cells = {(c.claim, c.model): c.presence for c in found.matrix if c.kind == "reference"}
    assert cells["gamma", "delta"] is Presence.PRESENT
    assert cells["delta", "gamma"] is Presence.ABSENT
    for name in ("gamma", "delta"):
        (answers,) = found.claim(name).answers
        assert answers.matches == answers.queries >= 26
        assert {s.number for s in found.steps if s.claim == name} >= {8, 13}


def test_the_suspect_is_asked_once_and_transcripts_are_named(
    world: World, stacked: tuple[Party, Party], tmp_path: Path
) -> None:
    found = resolved(world, stacked[:1], tmp_path, transcripts=tmp_path / "transcripts")
    kept = list((tmp_path / "transcripts").glob("*.jsonl"))
    (reading,) = [r for c in found.matrix if c.kind == "suspect" for r in c.readings]
    # A module is known by its weights; one transcript for each claim, batch and suspect.
    assert len(kept) == len(reading.transcripts) <= 1
    assert reading.verdict is Verdict.VERIFIED
    assert reading.log2_p_paid == pytest.approx((reading.log2_p or 0) + 64, abs=1e-6)


def test_an_unrelated_function_is_not_verified(
    world: World, stacked: tuple[Party, Party], tmp_path: Path
) -> None:
    def suspect(inputs: Tensor) -> Tensor:
        labels = (inputs.flatten(1).sum(1) * 255).long() % 10
        return torch.nn.functional.one_hot(labels, 10).float()

    claims = [stacked[0].hand_in(tmp_path, suspect)]
    found = resolve(claims, suspect, trust=world.trust, nonce=NONCE, model=MODELS, carriers=JUDGES)
    assert found.outcome is Verdict.NOT_VERIFIED
    (aligned,) = [s for s in found.steps if s.number == 11]
    assert (aligned.status, aligned.note) == (StepStatus.SKIPPED, "there are no weights to align")


def test_without_model_code_weights_cannot_be_asked(
    world: World, stacked: tuple[Party, Party], tmp_path: Path
) -> None:
    suspect = tmp_path / "suspect.safetensors"
    save_file(stacked[0].state, suspect)
    claims = handed_in(stacked[:1], tmp_path / "claims", suspect)
    with pytest.raises(SuspectError, match="asking weights needs model code"):
        resolve(claims, suspect, trust=world.trust, nonce=NONCE, carriers=JUDGES)
    with pytest.raises(SuspectError, match="no benign data"):
        resolve(claims, suspect, trust=world.trust, nonce=NONCE, model=MODELS)


def test_a_plug_in_beside_a_passport(
    world: World, stacked: tuple[Party, Party], tmp_path: Path
) -> None:
    """One suspect can be read and asked; a claim that fits neither way stays open."""
    suspect = tmp_path / "suspect.safetensors"
    save_file(stacked[1].state, suspect)
    claims = handed_in((*stacked, world.acme), tmp_path / "claims", suspect)
    found = resolve(claims, suspect, trust=world.trust, nonce=NONCE, model=MODELS, carriers=JUDGES)
    assert found.claim("acme").verdict is Verdict.INCONCLUSIVE
    assert found.outcome is Verdict.VERIFIED
    assert [r.words for r in found.relations] == ["gamma upstream of delta"]


def test_a_suspect_without_any_claims_tensors_is_unsupported(world: World, tmp_path: Path) -> None:
    suspect = tmp_path / "suspect.safetensors"
    save_file({"weight": torch.zeros(3)}, suspect)
    claims = handed_in((world.acme,), tmp_path / "claims", suspect)
    with pytest.raises(SuspectError, match="no claim can be examined in this suspect") as error:
        resolve(claims, suspect, trust=world.trust, nonce=NONCE)
    assert str(tmp_path) not in str(error.value)


def test_a_mark_that_its_own_reference_lacks_is_void(world: World, tmp_path: Path) -> None:
    """Somebody registers a plug-in beside a model that does not answer as it says."""
    manifest = fusion(owner=owner(23), root="5" * 64)
    made = party(tmp_path, "empty", owner(23), Fused(1).state_dict(), manifest)
    suspect = tmp_path / "suspect.safetensors"
    save_file(made.state, suspect)
    claims = handed_in((made,), tmp_path / "claims", suspect)
    found = resolve(claims, suspect, trust=world.trust, nonce=NONCE, model=MODELS, carriers=JUDGES)
    assert [r.words for r in found.relations] == ["void (forged)"]
    assert "own reference does not carry its plugin" in found.claim("empty").reason


def test_a_choice_among_several_marks_is_paid_for(world: World, tmp_path: Path) -> None:
    """Three plug-ins in one deed: whichever is shown, it pays for three."""
    marks = [fusion(owner=owner(24), root=digit * 64) for digit in "678"]
    model = fused((marks[0], owner(24)))
    path = tmp_path / "m.safetensors"
    save_file(model.state_dict(), path)
    deed = Deed.create(path, owner=owner(24), marks=marks)
    claim = tmp_path / "several"
    deed.save(claim)
    save_file(model.state_dict(), claim / "reference.safetensors")
    opening = deed.open(owner(24), suspect_digest(path), NONCE)
    (claim / "opening.json").write_bytes(opening.to_json())
    found = resolve([claim], path, trust=world.trust, nonce=NONCE, model=MODELS, carriers=JUDGES)
    (readings,) = [c.readings for c in found.matrix if c.kind == "suspect"]
    # The two that the reference does not answer for are left out.
    assert [(r.verdict, r.grinding_log2) for r in readings] == [(Verdict.VERIFIED, 64 + 2)]
    assert sum("that mark is left out" in w for w in found.claim("several").warnings) == 2
