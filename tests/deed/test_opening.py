"""Openings: bound to deed, suspect and dispute; they show this model and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from modeldeed import Deed, Owner
from modeldeed.deed import Opening
from modeldeed.deed.files import load_opening, save_opening
from modeldeed.deed.opening import BatchOpening, SeedOpening
from modeldeed.deed.recomputing import shown_marks
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.manifest import MAX_BYTES
from tests.deed.conftest import NONCE, Marked, host, planted
from tests.plugin.answering import OWNER, fusion


@pytest.fixture(scope="module")
def opening(marked: Marked) -> Opening:
    return marked.opening(marks=[marked.folder / "passport"])


def test_an_opening_shows_both_marks_of_one_anchor(marked: Marked, opening: Opening) -> None:
    (part,) = opening.marks
    assert isinstance(part, SeedOpening)
    assert part.marks == (0, 1)
    assert part.seed == marked.owner.seed("resnet-v1").hex()
    shown = shown_marks(marked.deed, opening, suspect=opening.suspect, nonce=NONCE)
    assert [mark.kind for mark in shown] == ["passport", "triggers"]
    claimant = shown[0].claimant
    assert claimant is not None
    with pytest.raises(EvidenceError, match="belongs to another model"):
        claimant.seed("resnet-v2")
    assert part.seed not in repr(opening)


def test_it_survives_being_written(marked: Marked, opening: Opening, tmp_path: Path) -> None:
    save_opening(tmp_path / "opening.json", opening)
    assert load_opening(tmp_path) == opening
    assert (tmp_path / "opening.json").stat().st_mode & 0o077 == 0
    with pytest.raises(OptionError, match="no opening"):
        load_opening(tmp_path / "other.json")


def test_it_is_bound_to_deed_suspect_and_dispute(marked: Marked, opening: Opening) -> None:
    with pytest.raises(EvidenceError, match="suspect"):
        shown_marks(marked.deed, opening, suspect="0" * 64)
    with pytest.raises(EvidenceError, match="dispute"):
        shown_marks(marked.deed, opening, nonce="00" * 16)
    other = Deed.create(
        marked.model, owner=marked.owner, marks=[marked.folder / "passport"], alpha_log2=70
    )
    with pytest.raises(EvidenceError, match="another deed"):
        shown_marks(other, opening)


def test_an_altered_opening_is_refused(marked: Marked, opening: Opening) -> None:
    text = opening.to_json()
    for old, new in (
        (opening.suspect.encode(), b"0" * 64),
        (NONCE.encode(), b"00" * 16),
        (b'"keyed"', b'"learned"'),
    ):
        assert old in text
        with pytest.raises(EvidenceError):
            shown_marks(marked.deed, Opening.from_json(text.replace(old, new, 1)))


def changed_anchor(part: SeedOpening, owner: Owner, **update: Any) -> SeedOpening:
    anchor = part.manifest.anchor.model_copy(update=update)
    manifest = part.manifest.model_copy(update={"anchor": anchor}).signed(owner)
    return part.model_copy(update={"manifest": manifest})


def other_head(part: SeedOpening, owner: Owner) -> SeedOpening:
    rule = part.manifest.anchor.passport_rule.model_copy(update={"head": "learned"})
    return changed_anchor(part, owner, passport=rule)


def fewer_layers(part: SeedOpening, owner: Owner) -> SeedOpening:
    return changed_anchor(part, owner, targets=part.manifest.anchor.targets[1:])


def other_statistics_file(part: SeedOpening, owner: Owner) -> SeedOpening:
    manifest = part.manifest.model_copy(update={"state": "0" * 64}).signed(owner)
    return part.model_copy(update={"manifest": manifest})


def other_message(part: SeedOpening, owner: Owner) -> SeedOpening:
    manifest = part.manifest.model_copy(update={"message": "B2"}).signed(owner)
    return part.model_copy(update={"manifest": manifest})


def other_label(part: SeedOpening, owner: Owner) -> SeedOpening:
    manifest = part.manifest.model_copy(update={"label": "x"}).signed(owner)
    return part.model_copy(update={"manifest": manifest, "seed": owner.seed("x").hex()})


def other_seed(part: SeedOpening, owner: Owner) -> SeedOpening:
    return part.model_copy(update={"seed": "0" * 64})


def triggers_as_passport(part: SeedOpening, owner: Owner) -> SeedOpening:
    return part.model_copy(update={"marks": (0, 5)})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_head, "another anchor"),
        (fewer_layers, "another anchor"),
        (other_statistics_file, "another state"),
        (other_message, "another message"),
        (other_label, "not the one that the deed commits with"),
        (other_seed, "not the one that the deed commits with"),
        (triggers_as_passport, "the deed has 2"),
    ],
)
def test_even_its_owner_cannot_show_something_else(
    marked: Marked,
    opening: Opening,
    change: Callable[[SeedOpening, Owner], SeedOpening],
    words: str,
) -> None:
    (part,) = opening.marks
    assert isinstance(part, SeedOpening)
    forged = opening.model_copy(update={"marks": (change(part, marked.owner),)})
    with pytest.raises(EvidenceError, match=words):
        shown_marks(marked.deed, forged.signed(marked.owner))


def test_a_stranger_cannot_replay_an_opening(
    marked: Marked, opening: Opening, stranger: Owner
) -> None:
    """A copied commitment has the owner's identity in it, and so has the opening."""
    mine = opening.model_copy(update={"identity": stranger.identity.public_key.hex()})
    with pytest.raises(EvidenceError, match="another identity"):
        shown_marks(marked.deed, mine.signed(stranger))
    with pytest.raises(EvidenceError, match="belongs to identity"):
        marked.deed.open(stranger, "0" * 64, NONCE, marks=[marked.folder / "passport"])


def test_a_batch_shows_its_own_secrets_alone(marked: Marked) -> None:
    opening = marked.opening(batches=[1])
    (part,) = opening.marks
    assert isinstance(part, BatchOpening)
    seed, manifest = marked.owner.seed("resnet-v1"), marked.passport.manifest
    text = opening.to_json()
    assert seed.hex().encode() not in text
    assert manifest.model_key(marked.owner).hex().encode() not in text
    assert b"resnet-v1" not in text
    (shown,) = shown_marks(marked.deed, opening)
    assert shown.kind == "triggers"
    assert list(shown.batches) == [1]
    swapped = part.batches[0].model_copy(update={"number": 0})
    forged = opening.model_copy(
        update={"marks": (part.model_copy(update={"batches": (swapped,)}),)}
    )
    with pytest.raises(EvidenceError, match="batch 0 is not the one"):
        shown_marks(marked.deed, forged.signed(marked.owner))
    with pytest.raises(OptionError, match=r"batches 0 … 1"):
        marked.opening(batches=[2])


def test_a_plugins_seed_stays_secret_unless_asked_for(tmp_path: Path) -> None:
    """Its seed would open it beside every other model: by default one batch is shown."""
    model = host()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    passport = planted(model, OWNER, label="resnet-v1")
    deed = Deed.create(tmp_path / "model.safetensors", owner=OWNER, marks=[fusion(), passport])
    assert [mark.kind for mark in deed.marks] == ["passport", "plugin"]
    opening = deed.open(OWNER, "0" * 64, NONCE)
    assert [part.by for part in opening.marks] == ["seed", "batches"]
    assert OWNER.seed("plugin").hex().encode() not in opening.to_json()
    shown = shown_marks(deed, opening)
    assert list(shown[1].batches) == [0]
    assert len(shown[1].batches[0].backgrounds) == shown[1].anchor.plugin_rule.count
    full = deed.open(OWNER, "0" * 64, NONCE, plugin_seed=True)
    assert [part.by for part in full.marks] == ["seed", "seed"]
    shown = shown_marks(deed, full)
    assert [mark.kind for mark in shown] == ["passport", "plugin"]
    labels = [mark.manifest.label for mark in shown if mark.manifest]
    assert labels == ["resnet-v1", "plugin"]


def test_malformed_words_are_refused(marked: Marked) -> None:
    for digest, nonce in (("x", NONCE), ("0" * 64, "5a"), ("0" * 64, "zz" * 16)):
        with pytest.raises(OptionError):
            marked.deed.open(marked.owner, digest, nonce)
    with pytest.raises(OptionError, match="marks are needed"):
        Deed.load(marked.folder / "model.deed").open(marked.owner, "0" * 64, NONCE)
    with pytest.raises(EvidenceError, match=str(MAX_BYTES)):
        Opening.from_json(bytes(MAX_BYTES + 1))
    with pytest.raises(EvidenceError):
        Opening.from_json(b"[" * MAX_BYTES)


def test_a_passport_that_was_trained_on_does_not_open_the_deed(
    marked: Marked, tmp_path: Path
) -> None:
    again = planted(host(), marked.owner, label="resnet-v1", classes=10, triggers=True)
    again.branch.statistics["1"].mean += torch.ones(48)
    with pytest.raises(EvidenceError, match=r"not in the deed|not as the deed commits"):
        marked.deed.open(marked.owner, "0" * 64, NONCE, marks=[again])
