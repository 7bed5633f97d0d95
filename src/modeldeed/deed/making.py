"""Making a deed's statement: marks are committed to, budgets held against the floor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import ValidationError

from modeldeed._version import __version__
from modeldeed.deed.budgets import MarkBudget, floor_of
from modeldeed.deed.commitments import committed, kinds_of
from modeldeed.deed.derivation import Countersignature, DerivedFrom
from modeldeed.deed.hashing import ModelDigests
from modeldeed.deed.statement import (
    TENSORS,
    Algorithms,
    MarkEntry,
    Predicate,
    Statement,
    Subject,
    TensorDigest,
)
from modeldeed.errors import OptionError
from modeldeed.manifest import SignedManifest
from modeldeed.owner import Owner

if TYPE_CHECKING:
    from modeldeed.deed.deed import Deed

__all__ = ["statement_of"]

_ALGORITHMS = Algorithms(
    signature="Ed25519",
    hash="SHA-256",
    derivation="HKDF-SHA256",
    stream="ChaCha20",
    commitment="modeldeed/v1/commitment",
)
_Number = int | Mapping[str, int] | None


def statement_of(
    manifests: Sequence[SignedManifest],
    digests: ModelDigests,
    owner: Owner,
    *,
    derived_from: Iterable[DerivedFrom | Deed | tuple[Deed, Countersignature]],
    alpha_log2: _Number,
    grinding_log2: _Number,
) -> Statement:
    """Say everything that a deed says; the arguments are those of `Deed.create`.

    Raises:
        OptionError: a budget is laxer than the floor, or a value is out of range.
        EvidenceError: a countersignature is about something else.
    """
    origins = tuple(_origin(entry) for entry in derived_from)
    for origin in origins:
        if origin.countersignature is not None:
            origin.countersignature.require_covers(owner.identity, digests.tensor_root)
    entries = tuple(
        _entry(kind, manifest, digests, owner, alpha_log2, grinding_log2)
        for manifest in manifests
        for kind in kinds_of(manifest)
    )
    try:
        predicate = Predicate(
            format="modeldeed-deed/v1",
            identity=owner.identity.public_key.hex(),
            algorithms=_ALGORITHMS,
            library=__version__,
            marks=entries,
            derived_from=origins,
        )
        return Statement(
            _type="https://in-toto.io/Statement/v1",
            subject=_subjects(digests),
            predicateType="https://modeldeed.org/deed/v1",
            predicate=predicate,
        )
    except ValidationError as error:
        raise OptionError(f"no deed can say this: {error.errors()[0]['msg']}") from error


def _origin(entry: DerivedFrom | Deed | tuple[Deed, Countersignature]) -> DerivedFrom:
    if isinstance(entry, DerivedFrom):
        return entry
    deed, consent = entry if isinstance(entry, tuple) else (entry, None)
    return DerivedFrom(
        tensor_root=deed.statement.tensor_root,
        deed=deed.digest,
        terms=None if consent is None else consent.terms,
        countersignature=consent,
    )


def _subjects(digests: ModelDigests) -> tuple[Subject, ...]:
    listed = [Subject(name=name, digest=digests.files[name]) for name in sorted(digests.files)]
    return (
        *listed,
        Subject(name=TENSORS, digest=TensorDigest(modeldeedTensorRootV1=digests.tensor_root)),
    )


def _entry(
    kind: str,
    manifest: SignedManifest,
    digests: ModelDigests,
    owner: Owner,
    alpha_log2: _Number,
    grinding_log2: _Number,
) -> MarkEntry:
    floor = floor_of(kind, anchored=manifest.token is not None)
    alpha = _chosen(alpha_log2, kind, floor.alpha_log2)
    grinding = _chosen(grinding_log2, kind, floor.grinding_log2)
    if alpha < floor.alpha_log2 or grinding < floor.grinding_log2:
        raise OptionError(
            f"{kind}: a deed may only be stricter than alpha_log2={floor.alpha_log2} and "
            f"grinding_log2={floor.grinding_log2}, got {alpha} and {grinding}"
        )
    seed = owner.seed(manifest.label)
    fields, batches = committed(kind, manifest, digests.tensor_root, seed)
    try:
        return MarkEntry(
            kind=kind,
            anchor=manifest.anchor.digest,
            token=manifest.token,
            commitments=dict(fields),
            batches=batches,
            budget=MarkBudget(alpha_log2=alpha, grinding_log2=grinding),
        )
    except ValidationError as error:
        raise OptionError(f"{kind}: no deed can say this: {error.errors()[0]['msg']}") from error


def _chosen(value: _Number, kind: str, floor: int) -> int:
    found = value.get(kind) if isinstance(value, Mapping) else value
    return floor if found is None else found
