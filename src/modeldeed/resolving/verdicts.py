"""From findings to the verdict of one claim, and from claims to the outcome: pure rules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from modeldeed.resolving.words import Order, Presence, Relation, Standing, Void
from modeldeed.results import Verdict

__all__ = ["Carrier", "ClaimFindings", "Decision", "Examined", "decide", "outcome"]


@dataclass(frozen=True)
class Examined:
    """What one way of examination said about the suspect.

    Attributes:
        level: ``"L1"`` or ``"L3"``.
        verdict: by that level's own rule, after payment.
        reason: why, in one sentence without its full stop.
    """

    level: str
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Carrier:
    """Another model that was read for a claim's mark.

    Attributes:
        name: how the judge calls it.
        presence: of the mark in it.
        dates: the model before or after the deed; None of a null model, which nobody dated.
    """

    name: str
    presence: Presence
    dates: Order | None


@dataclass(frozen=True)
class ClaimFindings:
    """Everything that the verdict on a claim follows from.

    Attributes:
        invalid: why steps 2 to 8 failed, and how that is called; None where they held.
        examined: what levels 1 and 3 said; empty where none could be done.
        standing: of the deed's date to the suspect's.
        carriers: exhibits and null models.
        aligned_missing: why an aligned reading is needed and could not be made; None where none
            is needed.
    """

    invalid: tuple[Void, str] | None = None
    examined: tuple[Examined, ...] = ()
    standing: Standing = Standing.NOT_ASKED
    carriers: tuple[Carrier, ...] = ()
    aligned_missing: str | None = None


@dataclass(frozen=True)
class Decision:
    """The verdict on a claim.

    Attributes:
        verdict: the word.
        reason: why, in one sentence without its full stop.
        presence: of the mark in the suspect, whatever the dates say.
        void: why the claim is no evidence; None where it is.
    """

    verdict: Verdict
    reason: str
    presence: Presence
    void: Void | None = None


def decide(findings: ClaimFindings) -> Decision:
    """The verdict on one claim; it depends on no other claim."""
    if findings.invalid is not None:
        void, reason = findings.invalid
        return Decision(Verdict.EVIDENCE_INVALID, reason, Presence.UNDECIDED, void)
    found = _found(findings)
    if older := _names(findings, Order.BEFORE):
        reason = f"its mark is in {older} already, which is proven older than the deed"
        void = Void.EARLIER_CARRIER
        return Decision(Verdict.EVIDENCE_INVALID, reason, found.presence, void)
    if found.verdict is not Verdict.VERIFIED:
        return found
    if carrying := _names(findings, None):
        # A reading that cannot tell models apart has found nothing.
        reason = f"null models carry the mark as well ({carrying}), so it tells nothing apart"
        return Decision(Verdict.INCONCLUSIVE, reason, Presence.UNDECIDED)
    doubt = _doubt(findings)
    if doubt is None:
        return found
    return Decision(Verdict.INCONCLUSIVE, f"{doubt}; {found.reason}", Presence.PRESENT)


def _names(findings: ClaimFindings, dates: Order | None) -> str:
    """The other models that carry the mark, by how they are dated; empty for none."""
    return ", ".join(
        sorted(
            carrier.name
            for carrier in findings.carriers
            if carrier.presence is Presence.PRESENT and carrier.dates is dates
        )
    )


def _doubt(findings: ClaimFindings) -> str | None:
    """What keeps a mark that is present from being verified."""
    if undated := _names(findings, Order.UNKNOWN):
        return f"{undated} carries the mark as well, and the dates do not say which is older"
    if findings.standing is Standing.LATER:
        return "mark present, dated later: the deed is younger than the suspect"
    if findings.standing is Standing.OPEN:
        return "mark present, order unknown: nothing proves the deed older than the suspect"
    return None


def _found(findings: ClaimFindings) -> Decision:
    """What the examinations of the suspect amount to: the strongest counts."""
    ranked = (
        (Verdict.VERIFIED, Presence.PRESENT),
        (Verdict.INCONCLUSIVE, Presence.UNDECIDED),
        (Verdict.NOT_VERIFIED, Presence.ABSENT),
    )
    if not findings.examined:
        reason = "none of its marks can be examined in this suspect"
        return Decision(Verdict.INCONCLUSIVE, reason, Presence.UNDECIDED)
    for verdict, presence in ranked:
        reasons = [e.reason for e in findings.examined if e.verdict is verdict]
        if not reasons:
            continue
        if verdict is Verdict.NOT_VERIFIED and findings.aligned_missing is not None:
            reason = f"{reasons[0]}; {findings.aligned_missing}"
            return Decision(Verdict.INCONCLUSIVE, reason, Presence.UNDECIDED)
        return Decision(verdict, "; ".join(reasons), presence)
    raise ValueError("an examination of a suspect never ends with invalid evidence")


def outcome(decisions: Iterable[Decision], relations: Iterable[Relation]) -> Verdict:
    """What a dispute comes to in one word, which is the exit code of the command.

    Args:
        decisions: on every claim.
        relations: all of them.

    Returns:
        ``verified`` if a claim is verified and nothing contradicts; ``inconclusive`` if the order
        of two marks is unknown or contradictory, or if no claim is verified and one is
        inconclusive; ``evidence invalid`` if every claim is void; else ``not verified``.
    """
    verdicts = {decision.verdict for decision in decisions}
    if {Relation.CONFLICT, Relation.ORDER_UNKNOWN} & set(relations):
        return Verdict.INCONCLUSIVE
    for verdict in (Verdict.VERIFIED, Verdict.INCONCLUSIVE, Verdict.NOT_VERIFIED):
        if verdict in verdicts:
            return verdict
    return Verdict.EVIDENCE_INVALID
