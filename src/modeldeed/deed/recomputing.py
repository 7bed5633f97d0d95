"""What an opening shows of a deed, after every commitment was made anew and compared.

Anything that the deed does not commit to, such as another head, another rule of reading or other
layers, changes a commitment and is refused here, before a suspect is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modeldeed.anchor import Anchor
from modeldeed.claimant import OpenedSeed
from modeldeed.deed.batches import BatchSecret
from modeldeed.deed.commitments import (
    ANSWERING,
    FIELDS,
    batch_commitment,
    committed,
    kinds_of,
)
from modeldeed.deed.opening import BatchOpening, OpenedBatch, Opening, SeedOpening
from modeldeed.deed.statement import MarkEntry
from modeldeed.errors import EvidenceError
from modeldeed.manifest import SignedManifest

if TYPE_CHECKING:
    from modeldeed.deed.deed import Deed

__all__ = ["ShownMark", "shown_marks"]


@dataclass(frozen=True)
class ShownMark:
    """One mark of a deed, opened and found as it was committed to.

    Attributes:
        place: in the deed's list.
        entry: what the deed says of it.
        anchor: its anchor.
        manifest: with its claimant, where the seed is shown; else None.
        claimant: who claims, with the one seed; None where only batches are shown.
        batches: the secrets of batches by number, where only these are shown.
    """

    place: int
    entry: MarkEntry
    anchor: Anchor
    manifest: SignedManifest | None = None
    claimant: OpenedSeed | None = None
    batches: Mapping[int, BatchSecret] = field(default_factory=dict, repr=False)

    @property
    def kind(self) -> str:
        """Of the mark."""
        return self.entry.kind


def shown_marks(
    deed: Deed, opening: Opening, *, suspect: str | None = None, nonce: str | None = None
) -> tuple[ShownMark, ...]:
    """Check an opening against its deed.

    Args:
        deed: verified.
        opening: as it was read.
        suspect: digest of the suspect; None does not look.
        nonce: that the judge drew; None does not look.

    Returns:
        The marks it shows, in the order of the deed.

    Raises:
        EvidenceError: the opening was altered, is of another deed, suspect or dispute, or shows
            something else than the deed commits to.
    """
    opening.require_for(deed.imprint, suspect=suspect, nonce=nonce)
    if opening.owner_identity() != deed.identity:
        raise EvidenceError("the opening is signed by another identity than the deed")
    found = []
    for part in opening.marks:
        if isinstance(part, SeedOpening):
            found += _by_seed(deed, part)
        else:
            found.append(_by_batches(deed, part))
    return tuple(sorted(found, key=lambda shown: shown.place))


def _entry(deed: Deed, place: int) -> MarkEntry:
    if place >= len(deed.marks):
        raise EvidenceError(f"the opening shows mark {place}, the deed has {len(deed.marks)}")
    return deed.marks[place]


def _by_seed(deed: Deed, part: SeedOpening) -> list[ShownMark]:
    manifest, claimant = part.manifest, part.claimant()
    manifest.require_authentic()
    if manifest.owner_identity() != deed.identity:
        raise EvidenceError(f"the opening's {manifest.mark} belongs to another identity")
    found = []
    for place in part.marks:
        entry = _entry(deed, place)
        _require_anchor(entry, manifest.anchor)
        if entry.kind not in kinds_of(manifest):
            raise EvidenceError(f"the opening shows a {manifest.mark} as the mark {entry.kind!r}")
        if entry.token != manifest.token:
            raise EvidenceError(f"{entry.kind}: the anchor's token is not the one in the deed")
        _require_commitments(deed, entry, manifest, claimant)
        found.append(ShownMark(place, entry, manifest.anchor, manifest, claimant))
    manifest.model_key(claimant)
    return found


def _require_commitments(
    deed: Deed, entry: MarkEntry, manifest: SignedManifest, claimant: OpenedSeed
) -> None:
    unknown = sorted(set(entry.commitments) ^ set(FIELDS[entry.kind]))
    if unknown:
        raise EvidenceError(
            f"{entry.kind}: the deed does not commit to just the fields that this version knows: "
            f"{', '.join(unknown)}"
        )
    root = deed.statement.tensor_root
    fields, batches = committed(entry.kind, manifest, root, claimant.opened)
    differing = sorted(name for name in fields if fields[name] != entry.commitments[name])
    if len(differing) == len(fields):
        raise EvidenceError(f"{entry.kind}: the seed is not the one that the deed commits with")
    if differing:
        raise EvidenceError(
            f"{entry.kind}: the opening shows another {', '.join(differing)} than the deed "
            "commits to"
        )
    if batches != entry.batches:
        raise EvidenceError(f"{entry.kind}: the batches are not those that the deed commits to")


def _by_batches(deed: Deed, part: BatchOpening) -> ShownMark:
    entry = _entry(deed, part.mark)
    if entry.kind not in ANSWERING:
        raise EvidenceError(f"the mark {entry.kind!r} has no batches that could be opened")
    _require_anchor(entry, part.anchor)
    if part.anchor.owner_identity() != deed.identity:
        raise EvidenceError("the opening's anchor belongs to another identity")
    held = part.anchor.triggers if entry.kind == "triggers" else part.anchor.plugin
    if held is None or held.batches != len(entry.batches):
        raise EvidenceError(f"{entry.kind}: the anchor has not the batches of the deed")
    for batch in part.batches:
        _require_batch(entry, part.anchor, batch)
        wanted = 0 if entry.kind == "triggers" else held.count
        if len(batch.secret.backgrounds) != wanted:
            raise EvidenceError(
                f"{entry.kind}: batch {batch.number} has {len(batch.secret.backgrounds)} keys of "
                f"backgrounds, its rule {wanted}"
            )
    secrets = {batch.number: batch.secret for batch in part.batches}
    return ShownMark(part.mark, entry, part.anchor, batches=secrets)


def _require_anchor(entry: MarkEntry, anchor: Anchor) -> None:
    if anchor.digest != entry.anchor:
        raise EvidenceError(f"{entry.kind}: the opening shows another anchor than the deed's")


def _require_batch(entry: MarkEntry, anchor: Anchor, batch: OpenedBatch) -> None:
    if batch.number >= len(entry.batches):
        raise EvidenceError(f"{entry.kind}: the deed has no batch {batch.number}")
    made = batch_commitment(
        entry.kind,
        batch.number,
        bytes.fromhex(batch.salt),
        bytes.fromhex(anchor.identity),
        batch.secret.value(),
    )
    if made != entry.batches[batch.number]:
        raise EvidenceError(
            f"{entry.kind}: batch {batch.number} is not the one that the deed commits to"
        )
