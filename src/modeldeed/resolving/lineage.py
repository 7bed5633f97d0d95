"""What two claims say and show of each other: facts of a pair, for the table of relations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from modeldeed.deed import Countersignature, Deed
from modeldeed.errors import EvidenceError
from modeldeed.resolving.relations import PairFacts
from modeldeed.resolving.taken_claim import TakenClaim
from modeldeed.resolving.words import Order, Presence
from modeldeed.timestamping import order

__all__ = ["licensed", "names", "pair_facts"]


def pair_facts(
    first: TakenClaim, second: TakenClaim, references: Mapping[tuple[str, str], Presence]
) -> PairFacts:
    """The facts of two claims, seen from the first.

    Args:
        first: valid.
        second: valid.
        references: presence of the mark of one claim, by name, in the reference of another.
    """
    return PairFacts(
        dates=Order(order(first.dating, second.dating)),
        first_in_second=references[first.name, second.name],
        second_in_first=references[second.name, first.name],
        second_names_first=names(second, first),
        first_names_second=names(first, second),
        second_licensed=licensed(second, first),
        first_licensed=licensed(first, second),
    )


def names(derived: TakenClaim, upstream: TakenClaim) -> bool:
    """Whether a claim says itself that its model derives from the other's.

    By the upstream deed or tensors in its own deed, or by handing in a licence of that owner's.
    """
    own, other = _deed(derived), _deed(upstream)
    for origin in own.statement.predicate.derived_from:
        if origin.deed == other.digest or origin.tensor_root == other.statement.tensor_root:
            return True
    return any(True for _ in _consents(derived, upstream))


def licensed(derived: TakenClaim, upstream: TakenClaim) -> bool:
    """Whether the upstream owner agreed to the derived model; nobody needs his own licence."""
    if _deed(derived).identity == _deed(upstream).identity:
        return True
    return any(True for _ in _consents(derived, upstream))


def _consents(derived: TakenClaim, upstream: TakenClaim) -> Iterator[Countersignature]:
    """Countersignatures of the upstream owner that hold for the derived deed."""
    own, other = _deed(derived), _deed(upstream)
    for consent in _shown(derived, own):
        if consent.upstream != other.digest:
            continue
        try:
            if consent.owner_identity() != other.identity:
                continue
            consent.require_covers(own.identity, own.statement.tensor_root, own.digest)
        except EvidenceError:
            continue
        yield consent


def _shown(claim: TakenClaim, deed: Deed) -> Iterator[Countersignature]:
    for origin in deed.statement.predicate.derived_from:
        if origin.countersignature is not None:
            yield origin.countersignature
    for data in claim.countersignatures:
        try:
            yield Countersignature.from_json(data)
        except EvidenceError:
            continue


def _deed(claim: TakenClaim) -> Deed:
    if claim.deed is None:
        raise EvidenceError(f"the claim {claim.name} has no deed")
    return claim.deed
