"""Openings of something else, and owners who would rather have committed to another rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from modeldeed import Passport, Verdict, verify
from modeldeed.anchor import Anchor
from modeldeed.deed import Deed, Opening
from modeldeed.deed.opening import BatchOpening, SeedOpening
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.passport.evidence.manifest import Manifest
from tests.deed.forgeries.world import (
    BITS,
    EXAMPLE,
    NONCE,
    OTHER_NONCE,
    Registered,
    World,
    host,
    resigned,
)


def judge(world: World, opening: Opening, deed: Deed | None = None, **options: Any) -> None:
    """The judge's call on the opening's file, which must refuse."""
    read = Opening.from_json(opening.to_json())
    deed = deed or world.real.deed
    verify(world.real.file, deed=deed, opening=read, trust=world.trust, nonce=NONCE, **options)


def seed_part(opening: Opening) -> SeedOpening:
    (part,) = opening.marks
    assert isinstance(part, SeedOpening)
    return part


def test_an_opening_serves_one_deed_one_suspect_and_one_dispute(
    world: World, other: Registered
) -> None:
    real = world.real
    with pytest.raises(EvidenceError, match="belongs to another deed"):
        judge(world, other.opening(suspect=real.suspect))
    with pytest.raises(EvidenceError, match="for the suspect"):
        judge(world, real.opening(suspect=other.suspect))
    with pytest.raises(EvidenceError, match="another dispute"):
        judge(world, real.opening(nonce=OTHER_NONCE))


@pytest.mark.parametrize("field", ["deed", "suspect", "nonce"])
def test_an_opening_cannot_be_readdressed(world: World, other: Registered, field: str) -> None:
    """Whoever holds an opening for another dispute writes this one's address on it."""
    old = other.opening(nonce=OTHER_NONCE)
    here = {"deed": world.real.deed.digest, "suspect": world.real.suspect, "nonce": NONCE}
    for changes in ({field: here[field]}, here):
        with pytest.raises(EvidenceError, match="altered"):
            judge(world, old.model_copy(update=changes))


def test_the_opening_of_another_deed_shows_other_commitments(
    world: World, other: Registered
) -> None:
    """Now the owner signs it himself, since he would like to use the other passport."""
    shown = resigned(other.opening(suspect=world.real.suspect), other.owner,
                     deed=world.real.deed.digest)  # fmt: skip
    with pytest.raises(EvidenceError, match="another anchor"):
        judge(world, shown)


def rules(anchor: Anchor, **changes: Any) -> Anchor:
    assert anchor.passport is not None
    return anchor.model_copy(update={"passport": anchor.passport.model_copy(update=changes)})


ANCHORS: dict[str, Callable[[Anchor], Anchor]] = {
    "head": lambda a: rules(a, head="sign-pattern" if a.passport_rule.head != "sign-pattern"
                            else "skip"),
    "rows": lambda a: rules(a, rows="shared"),
    "layers": lambda a: a.model_copy(
        update={"targets": (a.targets[0].model_copy(update={"channels": 600}),)}),
    "ordinals": lambda a: a.model_copy(
        update={"targets": (a.targets[0].model_copy(update={"norm": "0", "affine": "0.bias"}),)}),
    "excluded": lambda a: a.model_copy(update={"excluded": ("2",)}),
    "planner": lambda a: a.model_copy(update={"planner": (a.planner or 0) + 1}),
    "classes": lambda a: a.model_copy(update={"classes": tuple("jihgfedcba")}),
    "weights": lambda a: a.model_copy(update={"weights_root": "1" * 64}),
    "triggers": lambda a: a.model_copy(
        update={"triggers": a.trigger_rule.model_copy(update={"batches": 3})}),
}  # fmt: skip


@pytest.mark.parametrize("name", ANCHORS)
def test_another_rule_than_committed_is_refused(world: World, name: str) -> None:
    """Another head, statistics or layer list stands in another anchor."""
    part = seed_part(world.real.opening())
    changed = ANCHORS[name](part.manifest.anchor)
    assert changed.digest != part.manifest.anchor.digest
    manifest = part.manifest.model_copy(update={"anchor": changed}).signed(world.real.owner)
    marks = (part.model_copy(update={"manifest": manifest}),)
    with pytest.raises(EvidenceError):
        judge(world, resigned(world.real.opening(), world.real.owner, marks=marks))


@pytest.mark.parametrize("name", ANCHORS)
def test_a_deed_that_swaps_the_anchor_alone_contradicts_itself(world: World, name: str) -> None:
    """The owner signs a new deed with the new anchor and keeps the rest; it is undated, too."""
    part = seed_part(world.real.opening())
    changed = ANCHORS[name](part.manifest.anchor).model_copy(update={"authority": None})

    def swapped(statement: dict[str, Any]) -> None:
        for mark in statement["predicate"]["marks"]:
            mark["anchor"] = changed.digest
            mark["budget"]["grinding_log2"] = 64
            del mark["token"]

    deed = Deed.parse(world.forged(swapped))
    manifest = part.manifest.model_copy(update={"anchor": changed, "token": None})
    marks = (part.model_copy(update={"manifest": manifest.signed(world.real.owner)}),)
    opening = resigned(world.real.opening(), world.real.owner, deed=deed.digest, marks=marks)
    with pytest.raises(EvidenceError):
        judge(world, opening, deed)


@pytest.mark.parametrize("rule", ["claimed/v1", "re-estimated/v2", "", "RE-ESTIMATED/V1"])
def test_there_are_no_other_statistics_than_the_judge_s(world: World, rule: str) -> None:
    """The rule of this version is the only one: any other is unknown, even well signed."""
    text = world.real.opening().to_json()
    assert text.count(b'"re-estimated/v1"') == 1
    changed = text.replace(b'"re-estimated/v1"', f'"{rule}"'.encode())
    with pytest.raises(EvidenceError, match="statistics"):
        Opening.from_json(changed)


@pytest.mark.parametrize(
    ("field", "value"),
    [("calls", {"1": 2}), ("calls", {}), ("state", "0" * 64), ("label", "another name"),
     ("message", "chosen afterwards")],
)  # fmt: skip
def test_what_stands_beside_the_anchor_is_committed_to_as_well(
    world: World, field: str, value: Any
) -> None:
    part = seed_part(world.real.opening())
    manifest = part.manifest.model_copy(update={field: value}).signed(world.real.owner)
    marks = (part.model_copy(update={"manifest": manifest}),)
    with pytest.raises(EvidenceError, match=field if field != "label" else "label|seed"):
        judge(world, resigned(world.real.opening(), world.real.owner, marks=marks))


def test_a_message_is_not_chosen_after_the_fact(world: World) -> None:
    """The anchor commits to one of a length; what is read off a suspect afterwards is not it."""
    own = world.real.owner
    passport = Passport.issue(host(), own, example=EXAMPLE, message="ours")
    deed = Deed.create(world.real.file, owner=own, marks=[passport])
    opening = deed.open(own, world.real.suspect, NONCE)
    part = seed_part(opening)
    assert isinstance(part.manifest, Manifest)
    for message in ("mine", "longer than it was", None):
        manifest = part.manifest.model_copy(update={"message": message}).signed(own)
        marks = (part.model_copy(update={"manifest": manifest}),)
        with pytest.raises(EvidenceError, match="message"):
            judge(world, resigned(opening, own, marks=marks), deed)


def test_a_rule_beside_the_deed_is_refused(world: World) -> None:
    """A claimant hands in a passport of his own choice together with the deed."""
    opening = world.real.opening()
    for claim in ({"passport": world.real.passport}, {"owner": world.real.owner},
                  {"triggers": world.real.passport}):  # fmt: skip
        with pytest.raises(OptionError):
            judge(world, opening, **claim)


def test_one_passport_cannot_be_exchanged_for_another_in_its_folder(
    world: World, other: Registered
) -> None:
    other.passport.save(world.folder / "another-passport")
    with pytest.raises(EvidenceError):
        judge(world, world.real.opening(), passport=world.folder / "another-passport")


def test_marks_are_shown_once_and_as_what_they_are(world: World) -> None:
    opening, own = world.real.opening(), world.real.owner
    part = seed_part(opening)
    for marks in ((part, part), (part.model_copy(update={"marks": (0, 0)}),),
                  (part.model_copy(update={"marks": (7,)}),)):  # fmt: skip
        with pytest.raises(EvidenceError):
            judge(world, resigned(opening, own, marks=marks))
    shown = world.real.opening(batches=[0])
    (batch,) = shown.marks
    assert isinstance(batch, BatchOpening)
    for place, reason in ((0, "no batches"), (7, "has 2")):
        forged = resigned(shown, own, marks=(batch.model_copy(update={"mark": place}),))
        with pytest.raises(EvidenceError, match=reason):
            judge(world, forged)


@pytest.mark.parametrize(
    "changes",
    [{"number": 1}, {"salt": "0" * 64}, {"key": "0" * 64}, {"number": 250},
     {"backgrounds": ("0" * 64,)}],
    ids=str,
)  # fmt: skip
def test_a_batch_is_the_committed_one(world: World, changes: dict[str, Any]) -> None:
    """Ground offline on surrogate models, other keys would pass where the committed ones fail."""
    shown = world.real.opening(batches=[0])
    (part,) = shown.marks
    assert isinstance(part, BatchOpening)
    (batch,) = part.batches
    inner = {k: v for k, v in changes.items() if k in ("key", "backgrounds")}
    secret = batch.secret.model_copy(update=inner)
    outer = {k: v for k, v in changes.items() if k not in inner}
    forged = part.model_copy(
        update={"batches": (batch.model_copy(update=outer | {"secret": secret}),)}
    )
    with pytest.raises(EvidenceError):
        judge(world, resigned(shown, world.real.owner, marks=(forged,)))


def test_budgets_weaker_than_the_floor_are_no_deed(world: World) -> None:
    def weakened(field: str, value: int) -> bytes:
        def change(statement: dict[str, Any]) -> None:
            statement["predicate"]["marks"][0]["budget"][field] = value

        return world.forged(change)

    for field, value in (
        *(("alpha_log2", value) for value in (63, 0, -64)),
        *(("grinding_log2", value) for value in (19, 0, 2**53 - 1)),
    ):
        with pytest.raises(EvidenceError, match="budget"):
            Deed.parse(weakened(field, value))

    def untimed(statement: dict[str, Any]) -> None:
        for mark in statement["predicate"]["marks"]:
            del mark["token"]  # and keeps the anchored price

    with pytest.raises(EvidenceError, match="laxer"):
        Deed.parse(world.forged(untimed))


def test_an_untrusted_anchor_pays_the_full_price_whatever_the_deed_says(world: World) -> None:
    report = verify(world.real.file, deed=world.real.deed, opening=world.real.opening())
    assert report.require_signature().bits == BITS
    assert report.require_signature().required_matches == 503
    assert (report.verdict, report.anchored) == (Verdict.VERIFIED, False)
