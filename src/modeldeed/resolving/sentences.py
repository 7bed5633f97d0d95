"""A resolution in sentences, the same for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from modeldeed.resolving.results import (
    ClaimResult,
    Dated,
    MarkReading,
    MatrixCell,
    RelationResult,
    Resolution,
)
from modeldeed.resolving.words import Presence, Relation
from modeldeed.results import Verdict

__all__ = [
    "LIMITS",
    "cell_words",
    "dated_words",
    "headline",
    "outcome_reason",
    "owner_words",
    "reading_words",
    "relation_title",
    "title",
    "weightiest_first",
]

LIMITS = (
    "A mark says that the holder of a key had a hand in these weights. Nobody is accused of "
    "anything by it.",
    "A timestamp says that a deed existed at a time. It does not say who made the model, nor that "
    "nobody had it before.",
    "Only what was handed in was compared. A claim that nobody made is not in this report.",
)


def outcome_reason(
    outcome: Verdict, claims: Sequence[ClaimResult], relations: Sequence[RelationResult]
) -> str:
    """Why a dispute came to its outcome, in one sentence without its full stop."""
    open_ones = [r for r in relations if r.relation in (Relation.CONFLICT, Relation.ORDER_UNKNOWN)]
    if open_ones:
        first = open_ones[0]
        return f"{first.words} between {' and '.join(first.claims)}: {first.reason}"
    named = sorted(claim.name for claim in claims if claim.verdict is outcome)
    if outcome is Verdict.VERIFIED:
        many = len(named) > 1
        return f"the mark{'s' if many else ''} of {_listed(named)} {'are' if many else 'is'} proven"
    if outcome is Verdict.INCONCLUSIVE:
        return f"no claim is verified, and {_listed(named)} could not be decided"
    if outcome is Verdict.NOT_VERIFIED:
        return "no claim's mark is in the suspect"
    return "no claim is left: every one of them is void"


def headline(resolution: Resolution) -> str:
    """What the claims are to each other, in as few words as the rules have for it.

    Relations of pairs say more than those of single claims; without either, the outcome.
    """
    pairs = [found for found in resolution.relations if len(found.claims) == 2]
    if pairs:
        return "; ".join(_pair_words(found) for found in pairs[:3]) + ("; …" if pairs[3:] else "")
    only = [found.words for found in resolution.relations if found.relation is Relation.ONLY]
    return only[0] if only else resolution.outcome.value


def title(resolution: Resolution) -> str:
    """The headline as a sentence; a name at its beginning stays as it is."""
    text = headline(resolution)
    if any(text.startswith(claim.name) for claim in resolution.claims):
        return text
    return text[:1].upper() + text[1:]


def weightiest_first(relations: Sequence[RelationResult]) -> list[RelationResult]:
    """Relations as a reader wants them: pairs, who is the only one, the unrelated, the void."""
    places = {Relation.ONLY: 1, Relation.UNRELATED: 2}
    return sorted(relations, key=lambda r: 0 if len(r.claims) == 2 else places.get(r.relation, 3))


def relation_title(found: RelationResult) -> str:
    """The words with the names of all claims that they are about."""
    if all(name in found.words for name in found.claims):
        return found.words
    return f"{_listed(found.claims)}: {found.words}"


def _pair_words(found: RelationResult) -> str:
    if found.relation in (Relation.UPSTREAM, Relation.LICENSED):
        return found.words
    return f"{' and '.join(found.claims)}: {found.words}"


def _listed(names: Sequence[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def owner_words(claim: ClaimResult) -> str:
    """Whose claim it is: the trust file's name, or the identity's fingerprint."""
    if claim.owner is not None:
        return claim.owner
    return "unreadable" if claim.identity is None else f"identity {claim.identity[:16]}…"


def dated_words(dated: Dated) -> str:
    """An effective date, with its authorities."""
    if dated.earliest is None or dated.latest is None:
        return dated.word
    begin, end = _moment(dated.earliest), _moment(dated.latest)
    if dated.earliest.date() == dated.latest.date():
        end = end.partition(" ")[2]
    span = begin if dated.earliest == dated.latest else f"{begin} to {end}"
    by = f" ({', '.join(dated.authorities)})" if dated.authorities else ""
    single = f", {dated.word.partition(', ')[2]}" if ", " in dated.word else ""
    stated = ", stated by the judge" if "judge" in dated.word else ""
    return f"{span} UTC{single}{stated}{by}"


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def reading_words(reading: MarkReading) -> str:
    """One mark's reading: what matched."""
    if reading.verdict is None:
        return f"{reading.mark}: not examined"
    what = "bits" if reading.level == "L1" else "answers"
    return f"{reading.mark}: {reading.matches} of {reading.trials} {what}"


def cell_words(cell: MatrixCell) -> str:
    """One cell of the cross matrix."""
    counts = [
        f"{reading.matches} of {reading.trials}" for reading in cell.readings if reading.trials
    ]
    word = {
        Presence.PRESENT: "present",
        Presence.ABSENT: "–",
        Presence.UNDECIDED: "undecided",
    }[cell.presence]
    return f"{word} ({', '.join(counts)})" if counts else word
