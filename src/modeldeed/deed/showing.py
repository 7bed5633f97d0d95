"""Making an opening: what of a deed's marks is shown, and by which secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from modeldeed.deed.batches import batch_secrets
from modeldeed.deed.commitments import ANSWERING, Commitments, committed, kinds_of
from modeldeed.deed.opening import BatchOpening, OpenedBatch, Opening, SeedOpening
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.manifest import SignedManifest
from modeldeed.owner import Owner

if TYPE_CHECKING:
    from modeldeed.deed.deed import Deed

__all__ = ["shown_to_judge"]

_SHOWN: TypeAdapter[SeedOpening] = TypeAdapter(SeedOpening)


def shown_to_judge(
    deed: Deed,
    owner: Owner,
    manifests: Sequence[SignedManifest],
    *,
    suspect: str,
    nonce: str,
    batches: Mapping[str, Sequence[int]] | Sequence[int] | None,
    plugin_seed: bool,
) -> Opening:
    """Make and sign an opening; the arguments are those of `Deed.open`."""
    if owner.identity != deed.identity:
        raise EvidenceError("the deed belongs to another owner, who alone can open it")
    places = _places(deed, owner, manifests)
    shown: list[SeedOpening | BatchOpening] = []
    for manifest, own in places:
        kinds = {deed.marks[place].kind: place for place in own}
        if batches is None and ("plugin" not in kinds or plugin_seed):
            seed = owner.seed(manifest.label).hex()
            shown.append(_SHOWN.validate_python({"marks": own, "seed": seed, "manifest": manifest}))
            continue
        for kind in sorted(set(kinds) & set(ANSWERING)):
            numbers = _numbers(batches, kind)
            if numbers:
                shown.append(_batch_opening(deed, owner, manifest, kinds[kind], numbers))
    if not shown:
        raise OptionError("nothing would be shown: none of the deed's marks has these batches")
    try:
        opening = Opening(
            deed=deed.digest,
            suspect=suspect,
            nonce=nonce,
            identity=deed.identity.public_key.hex(),
            marks=tuple(shown),
        )
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        wanted = _FORMS.get(field, first["msg"])
        raise OptionError(f"{field} of the opening: {wanted}, got {first['input']!r}") from error
    return opening.signed(owner)


# What these two are, in words; patterns say it to nobody.
_FORMS = {
    "suspect": "the digest of a suspect has 64 digits, 0-9 and a-f, as `modeldeed resolve` shows "
    "it",
    "nonce": "a dispute's number has 16 to 64 bytes, each as two digits, 0-9 and a-f, as "
    "`modeldeed resolve` draws it",
}


def _places(
    deed: Deed, owner: Owner, manifests: Sequence[SignedManifest]
) -> list[tuple[SignedManifest, tuple[int, ...]]]:
    """Each manifest with the places of its marks in the deed, all of them found."""
    known = {(mark.kind, mark.anchor): place for place, mark in enumerate(deed.marks)}
    found = []
    for manifest in manifests:
        own = tuple(known.get((kind, manifest.anchor.digest), -1) for kind in kinds_of(manifest))
        if -1 in own:
            raise EvidenceError(f"this {manifest.mark} is not in the deed; was it issued anew?")
        for place in own:
            _require_committed(deed, owner, manifest, place)
        found.append((manifest, own))
    missing = set(range(len(deed.marks))) - {place for _, own in found for place in own}
    lacking = sorted({deed.marks[place].kind for place in missing})
    if lacking and not found:
        raise OptionError(
            f"the deed's marks are needed to open it: give marks=[...] ({', '.join(lacking)})"
        )
    return found


def _require_committed(deed: Deed, owner: Owner, manifest: SignedManifest, place: int) -> None:
    mark, seed = deed.marks[place], owner.seed(manifest.label)
    made = committed(mark.kind, manifest, deed.statement.tensor_root, seed)
    differing = [n for n, value in made[0].items() if mark.commitments.get(n) != value]
    if differing or made[1] != mark.batches:
        raise EvidenceError(
            f"this {manifest.mark} is not as the deed commits to it: {', '.join(differing)} "
            "differ; give it as it was when the deed was made"
        )


def _numbers(
    batches: Mapping[str, Sequence[int]] | Sequence[int] | None, kind: str
) -> tuple[int, ...]:
    if batches is None:
        return (0,)
    chosen = batches.get(kind, ()) if isinstance(batches, Mapping) else batches
    return tuple(sorted(set(chosen)))


def _batch_opening(
    deed: Deed, owner: Owner, manifest: SignedManifest, place: int, numbers: Sequence[int]
) -> BatchOpening:
    mark, seed = deed.marks[place], owner.seed(manifest.label)
    if not all(0 <= number < len(mark.batches) for number in numbers):
        raise OptionError(
            f"{mark.kind} has the batches 0 … {len(mark.batches) - 1}, got {list(numbers)}"
        )
    salts = Commitments(mark.kind, manifest.anchor, deed.statement.tensor_root, seed)
    secrets = list(batch_secrets(mark.kind, manifest, seed))
    opened = [
        OpenedBatch(number=n, salt=salts.batch_salt(n).hex(), secret=secrets[n]) for n in numbers
    ]
    return BatchOpening(mark=place, anchor=manifest.anchor, batches=tuple(opened))
