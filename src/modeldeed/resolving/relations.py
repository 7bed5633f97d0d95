"""From findings to relations: the pure rule of decision, steps 18 and 19 of the judge.

Nothing here reads a file or a weight. What was found is given as facts; what follows is a table.
Neither the order of the arguments nor the size of any p-value enters: who comes first is said by
lineage (whose mark is in whose registered reference) and by dates, and where they disagree or say
nothing, the words say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from modeldeed.resolving.words import Order, Presence, Relation, Void

__all__ = ["ClaimFacts", "PairFacts", "Related", "related", "relation_of_pair", "turned"]


@dataclass(frozen=True)
class ClaimFacts:
    """What was found about one claim.

    Attributes:
        name: how the resolution calls it; unique.
        presence: of its mark in the suspect.
        void: why it is no evidence; None where it is.
        reason: of that, in one sentence without its full stop.
    """

    name: str
    presence: Presence
    void: Void | None = None
    reason: str = ""


@dataclass(frozen=True)
class PairFacts:
    """What was found about two claims, seen from the first of them.

    Attributes:
        dates: the first deed before or after the second, by intervals.
        first_in_second: the first mark in the second's registered reference, read directly.
        second_in_first: the other way round.
        second_names_first: the second deed says itself that its model derives from the first's.
        first_names_second: the other way round.
        second_licensed: ... and the first owner countersigned that; or both are one owner.
        first_licensed: the other way round.
    """

    dates: Order = Order.UNKNOWN
    first_in_second: Presence = Presence.ABSENT
    second_in_first: Presence = Presence.ABSENT
    second_names_first: bool = False
    first_names_second: bool = False
    second_licensed: bool = False
    first_licensed: bool = False


@dataclass(frozen=True)
class Related:
    """One relation.

    Attributes:
        relation: the words.
        claims: names; of a directed relation the upstream one first.
        reason: why, in one sentence without its full stop.
    """

    relation: Relation
    claims: tuple[str, ...]
    reason: str


_TURNED = {Order.BEFORE: Order.AFTER, Order.AFTER: Order.BEFORE, Order.UNKNOWN: Order.UNKNOWN}


def turned(facts: PairFacts) -> PairFacts:
    """The same facts seen from the second claim."""
    return PairFacts(
        dates=_TURNED[facts.dates],
        first_in_second=facts.second_in_first,
        second_in_first=facts.first_in_second,
        second_names_first=facts.first_names_second,
        first_names_second=facts.second_names_first,
        second_licensed=facts.first_licensed,
        first_licensed=facts.second_licensed,
    )


def related(
    claims: Iterable[ClaimFacts], pairs: Mapping[tuple[str, str], PairFacts]
) -> tuple[Related, ...]:
    """All relations of a dispute.

    A claim that is void, absent or undecided changes nothing between the others: whoever hands in
    worthless evidence must not be able to blur that of somebody else.

    Args:
        claims: in any order.
        pairs: facts of every two claims whose marks are present, under either order of names.

    Returns:
        Relations of single claims first, then of pairs; sorted by names.

    Raises:
        KeyError: facts of a pair are missing.
    """
    ordered = sorted(claims, key=lambda claim: claim.name)
    valid = [claim for claim in ordered if claim.void is None]
    present = [claim.name for claim in valid if claim.presence is Presence.PRESENT]
    found = [
        Related(Relation.of_void(claim.void), (claim.name,), claim.reason or _WHY_VOID[claim.void])
        for claim in ordered
        if claim.void is not None
    ]
    if len(present) == 1:
        found.append(Related(Relation.ONLY, (present[0],), "no other claim's mark was proven"))
    found += [
        Related(Relation.UNRELATED, (claim.name,), "its mark is not in the suspect")
        for claim in valid
        if claim.presence is Presence.ABSENT
    ]
    for first, second in combinations(present, 2):
        known = pairs.get((first, second))
        facts = turned(pairs[second, first]) if known is None else known
        found.append(relation_of_pair(first, second, facts))
    return tuple(found)


_WHY_VOID = {
    Void.EARLIER_CARRIER: "its mark is in a model that is proven older than its deed",
    Void.FORGED: "what the deed commits to does not hold",
    Void.ALTERED: "its files are missing or not what was signed",
}


def relation_of_pair(first: str, second: str, facts: PairFacts) -> Related:
    """The relation of two claims whose marks are both in the suspect.

    Lineage points from A to B where A's mark is in B's registered reference, or B's own deed names
    A's model as its origin, and nothing of it points back. An undecided reading points nowhere: a
    million keys tried on somebody's public reference suffice for one.
    """
    down = facts.first_in_second is Presence.PRESENT or facts.second_names_first
    up = facts.second_in_first is Presence.PRESENT or facts.first_names_second
    if up and not down:
        return relation_of_pair(second, first, turned(facts))
    both = tuple(sorted((first, second)))
    if down and up:
        if facts.dates is Order.UNKNOWN:
            reason = "each lineage points to the other, and no dates tell them apart"
            return Related(Relation.ORDER_UNKNOWN, both, reason)
        reason = "each lineage points to the other, so no order of dates agrees with both"
        return Related(Relation.CONFLICT, both, reason)
    if down:
        return _directed(first, second, facts)
    if Presence.UNDECIDED in (facts.first_in_second, facts.second_in_first):
        reason = "whether one mark is in the other's reference could not be decided"
        return Related(Relation.ORDER_UNKNOWN, both, reason)
    reason = "both marks are in the suspect, and neither is in the other's reference"
    return Related(Relation.MERGE, both, reason)


def _directed(first: str, second: str, facts: PairFacts) -> Related:
    """Lineage points from the first to the second, and not back."""
    lineage = (
        f"the mark of {first} is in the reference of {second}, and not the other way round"
        if facts.first_in_second is Presence.PRESENT
        else f"the deed of {second} names the model of {first} as its origin"
    )
    if facts.dates is Order.AFTER:
        reason = f"{lineage}; but the deed of {first} is dated later"
        return Related(Relation.CONFLICT, tuple(sorted((first, second))), reason)
    if facts.second_licensed:
        # A deed that names another by its digest was made after it, whatever the dates leave open.
        return Related(Relation.LICENSED, (first, second), f"{lineage}, with a licence")
    if facts.dates is Order.BEFORE:
        reason = f"{lineage}, and the deed of {first} is dated earlier"
        return Related(Relation.UPSTREAM, (first, second), reason)
    reason = f"{lineage}; but the dates do not say which deed is older"
    return Related(Relation.ORDER_UNKNOWN, tuple(sorted((first, second))), reason)
