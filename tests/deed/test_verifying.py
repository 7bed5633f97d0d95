"""Verifying by deed and opening: under the committed rule, never a laxer one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from modeldeed import Deed, Owner, Verdict, verify
from modeldeed.deed.verifying import verify_deed
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.plugin.claim import PluginClaim
from modeldeed.querying.query import examine_answers
from modeldeed.suspects.answering import Suspect, open_suspect
from modeldeed.triggers.claim import TriggerClaim
from tests.deed.conftest import NONCE, Marked, host, planted
from tests.plugin.answering import OWNER, carriers, fusion, knowing


def test_the_common_case(marked: Marked) -> None:
    opening = marked.opening()
    report = verify(
        marked.model, deed=marked.deed, opening=opening, nonce=NONCE, reference=marked.model
    )
    assert report.verdict is Verdict.VERIFIED
    assert report.require_signature().matches >= 170
    assert report.suspect_digest == opening.suspect
    assert report.identity == marked.owner.identity.fingerprint
    assert report.deed == marked.deed.digest
    assert any("undated" in warning for warning in report.warnings)
    assert not any("void" in warning for warning in report.warnings)
    again = verify(marked.model, deed=marked.folder / "model.deed", opening=opening)
    assert again.verdict is Verdict.VERIFIED
    assert any("void" in warning for warning in again.warnings)
    assert any("nonce" in warning for warning in again.warnings)


def test_an_unmarked_suspect_is_not_verified(marked: Marked, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file(host(seed=9).state_dict(), other)
    report = verify(other, deed=marked.deed, opening=marked.opening(other))
    assert report.verdict is Verdict.NOT_VERIFIED
    with pytest.raises(EvidenceError, match="opening is for the suspect"):
        verify(other, deed=marked.deed, opening=marked.opening())


def test_a_deed_without_its_reference_is_void(marked: Marked, tmp_path: Path) -> None:
    opening, other = marked.opening(), tmp_path / "other.safetensors"
    save_file(host(seed=9).state_dict(), other)
    with pytest.raises(EvidenceError, match="void: the reference is not"):
        verify(marked.model, deed=marked.deed, opening=opening, reference=other)
    bare = Deed.create(other, owner=marked.owner, marks=[marked.folder / "passport"])
    opening = bare.open(marked.owner, opening.suspect, NONCE)
    with pytest.raises(EvidenceError, match="void: the deed's own reference does not carry"):
        verify(marked.model, deed=bare, opening=opening, reference=other)


def test_the_stricter_rule_counts(marked: Marked) -> None:
    """A deed may ask for more than the judge does, and gets it."""
    strict = Deed.create(
        marked.model, owner=marked.owner, marks=[marked.folder / "passport"], alpha_log2=200
    )
    opening = strict.open(marked.owner, marked.opening().suspect, NONCE)
    report = verify(marked.model, deed=strict, opening=opening)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.require_signature().threshold_log2 == -264


def test_trained_heads_come_from_the_committed_folder_alone(
    marked: Marked, tmp_path: Path, stranger: Owner
) -> None:
    opening = marked.opening()
    report = verify(
        marked.model, deed=marked.deed, opening=opening, passport=marked.folder / "passport"
    )
    assert report.verdict is Verdict.VERIFIED
    other = planted(host(), marked.owner, label="resnet-v1", head="learned")
    other.save(tmp_path / "passport")
    with pytest.raises(EvidenceError, match="not the one that the deed commits to"):
        verify(marked.model, deed=marked.deed, opening=opening, passport=tmp_path / "passport")


def test_other_claims_beside_a_deed_are_refused(marked: Marked) -> None:
    opening = marked.opening()
    wrong: list[dict[str, Any]] = [
        {"owner": marked.owner},
        {"passport": marked.passport},
        {"triggers": marked.folder / "passport"},
        {"trust": ()},
        {"opening": None},
    ]
    for options in wrong:
        with pytest.raises(OptionError):
            verify(marked.model, **{"deed": marked.deed, "opening": opening, **options})
    with pytest.raises(OptionError, match="needs owner"):
        verify(marked.model, passport=marked.folder / "passport")
    with pytest.raises(OptionError, match="could be examined"):
        verify(marked.model, deed=marked.deed, opening=marked.opening(batches=[0]))


def knowing_triggers(claim: TriggerClaim, batches: tuple[int, ...]) -> Suspect:
    """A suspect that has learned some batches."""
    known = {}
    for number in batches:
        batch = claim.batch(number)
        for sample, label in zip(batch.inputs, batch.labels.tolist(), strict=True):
            known[sample.numpy().tobytes()] = label

    def answer(inputs: Tensor) -> Tensor:
        samples = inputs.mul(255).round().to(torch.uint8)
        return torch.tensor([known.get(s.numpy().tobytes(), 0) for s in samples])

    return open_suspect(answer)


def test_a_batch_is_asked_and_pays_the_unanchored_price(marked: Marked) -> None:
    claim = TriggerClaim.of(marked.passport, marked.owner)
    digest = knowing_triggers(claim, (1,)).identity()
    opening = marked.deed.open(marked.owner, digest, NONCE, batches=[1])
    report = verify(knowing_triggers(claim, (1,)), deed=marked.deed, opening=opening)
    assert report.verdict is Verdict.VERIFIED
    assert not report.anchored
    assert report.answers is not None
    assert [batch.batch for batch in report.answers.batches] == [1]
    assert any("only batches" in warning for warning in report.warnings)
    # The same answers as under the owner's own key.
    same = examine_answers(knowing_triggers(claim, (1,)), claim, batches=(1,))
    assert same.answers == report.answers
    with pytest.raises(OptionError, match="was not opened"):
        verify_deed(
            knowing_triggers(claim, (1,)),
            deed=marked.deed,
            opening=opening,
            asked=True,
            batches=(0,),
        )


def test_another_suspect_is_not_even_asked(marked: Marked) -> None:
    asked = []

    def suspect(inputs: Tensor) -> Tensor:
        asked.append(len(inputs))
        return inputs.sum((1, 2, 3)).long() % 10

    opening = marked.deed.open(marked.owner, "0" * 64, NONCE)
    with pytest.raises(EvidenceError, match="opened for the suspect"):
        verify(open_suspect(suspect), deed=marked.deed, opening=opening)
    assert asked == []


def test_a_plugin_is_asked_by_its_batch(tmp_path: Path) -> None:
    model, manifest = host(), fusion()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    deed = Deed.create(tmp_path / "model.safetensors", owner=OWNER, marks=[manifest])
    suspect = open_suspect(knowing(PluginClaim.of(manifest, OWNER, carriers())))
    opening = deed.open(OWNER, suspect.identity(), NONCE)
    report = verify(suspect, deed=deed, opening=opening, carriers=carriers())
    assert report.verdict is Verdict.VERIFIED
    with pytest.raises(OptionError, match="carriers"):
        verify(suspect, deed=deed, opening=opening)


def test_an_altered_deed_is_invalid(marked: Marked, copied: Path) -> None:
    data = bytearray((copied / "deed.json").read_bytes())
    data[500] ^= 1
    (copied / "deed.json").write_bytes(bytes(data))
    with pytest.raises(EvidenceError):
        verify(marked.model, deed=copied, opening=marked.opening())


def test_resharding_does_not_orphan_a_deed(marked: Marked, tmp_path: Path) -> None:
    """The reference in other files is the same reference."""
    from tests.deed.test_hashing import sharded

    folder = sharded(tmp_path / "shards", load_file(marked.model))
    report = verify(marked.model, deed=marked.deed, opening=marked.opening(), reference=folder)
    assert report.verdict is Verdict.VERIFIED
