"""Steps 17 to 19: from claims that were examined one by one to what they are to each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, permutations

from modeldeed._version import __version__
from modeldeed.resolving.examinee import Examinee
from modeldeed.resolving.examining import ExaminedClaim, Examiner
from modeldeed.resolving.judge import Judge
from modeldeed.resolving.lineage import pair_facts
from modeldeed.resolving.relations import ClaimFacts, Related, related
from modeldeed.resolving.results import (
    ClaimResult,
    Dated,
    DatePair,
    MatrixCell,
    OtherModel,
    RelationResult,
    Resolution,
)
from modeldeed.resolving.sentences import outcome_reason
from modeldeed.resolving.step_log import StepLog
from modeldeed.resolving.taken_claim import TakenClaim
from modeldeed.resolving.verdicts import Decision, decide, outcome
from modeldeed.resolving.words import Order
from modeldeed.timestamping import order

__all__ = ["summed_up"]

_KIND_ORDER = {"suspect": 0, "reference": 1, "exhibit": 2, "base": 3, "null": 4}


def summed_up(
    suspect: Examinee,
    dated: Dated,
    judge: Judge,
    examined: Sequence[ExaminedClaim],
    examiner: Examiner,
    others: Sequence[OtherModel],
    log: StepLog,
) -> Resolution:
    """Steps 17 to 19, and the result.

    Args:
        suspect: what was accused.
        dated: its earliest proven existence.
        judge: whose trust file names owners.
        examined: the claims, sorted by digest.
        examiner: reads references.
        others: exhibits, public bases and null models.
        log: of all steps so far.
    """
    decisions = [decide(found.findings) for found in examined]
    for found, decision in zip(examined, decisions, strict=True):
        log.done(19, f"{decision.verdict.value}: {decision.reason}", found.claim.name)
    valid = [found.claim for found in examined if found.claim.invalid is None]
    crossed = _cross(valid, examiner, log)
    relations = _relations(examined, decisions, valid, crossed)
    log.done(19, "; ".join(dict.fromkeys(r.words for r in relations)) or "no relations")
    log.skipped(20, "signed when a judge's key is given")
    word = outcome(decisions, [r.relation for r in relations])
    claims = tuple(_result(f, d, judge) for f, d in zip(examined, decisions, strict=True))
    cells = [cell for found in examined for cell in found.cells] + crossed
    return Resolution(
        outcome=word,
        reason=outcome_reason(word, claims, relations),
        suspect=suspect.label,
        suspect_digest=suspect.digest,
        suspect_dated=dated,
        nonce=judge.nonce,
        claims=claims,
        relations=relations,
        dates=_dates(valid, log),
        matrix=tuple(sorted(cells, key=lambda c: (_KIND_ORDER[c.kind], c.model, c.claim))),
        others=tuple(others),
        steps=log.steps(),
        warnings=_warnings(judge, others),
        version=__version__,
    )


def _cross(valid: Sequence[TakenClaim], examiner: Examiner, log: StepLog) -> list[MatrixCell]:
    """Every claim's marks in every claim's reference."""
    cells = [claim.own for claim in valid if claim.own is not None]
    for claim, other in permutations(valid, 2):
        if other.reference is not None:
            cells.append(examiner.cross(claim, other.reference))
    count = len(valid) * (len(valid) - 1)
    log.done(17, f"direct readings of {len(valid)} claims: {count} in each other's references")
    return cells


def _relations(
    examined: Sequence[ExaminedClaim],
    decisions: Sequence[Decision],
    valid: Sequence[TakenClaim],
    crossed: Sequence[MatrixCell],
) -> tuple[RelationResult, ...]:
    presence = {(cell.claim, cell.model): cell.presence for cell in crossed}
    pairs = {(a.name, b.name): pair_facts(a, b, presence) for a, b in combinations(valid, 2)}
    facts = [
        ClaimFacts(found.claim.name, decision.presence, decision.void, decision.reason)
        for found, decision in zip(examined, decisions, strict=True)
    ]
    return tuple(_worded(found) for found in related(facts, pairs))


def _worded(found: Related) -> RelationResult:
    first, second = (*found.claims, "")[:2]
    return RelationResult(
        relation=found.relation,
        claims=found.claims,
        words=found.relation.worded(first, second),
        reason=found.reason,
    )


def _dates(valid: Sequence[TakenClaim], log: StepLog) -> tuple[DatePair, ...]:
    found = []
    for first, second in combinations(sorted(valid, key=lambda claim: claim.name), 2):
        dates = Order(order(first.dating, second.dating))
        found.append(DatePair(first=first.name, second=second.name, dates=dates))
    said = [
        f"{p.first} and {p.second}: order unknown"
        if p.dates is Order.UNKNOWN
        else f"{p.first} {p.dates.value} {p.second}"
        for p in found
    ]
    log.done(18, "; ".join(said) or "one valid claim at most: there is nothing to order")
    return tuple(found)


def _result(found: ExaminedClaim, decision: Decision, judge: Judge) -> ClaimResult:
    claim, marks = found.claim, found.marks
    identity = claim.deed.identity if claim.deed is not None else None
    passports = [m for m in marks if m.signature is not None]
    return ClaimResult(
        name=claim.name,
        digest=claim.digest,
        identity=None if identity is None else identity.fingerprint,
        owner=None if identity is None else judge.trust.owner_name(identity),
        verdict=decision.verdict,
        reason=decision.reason,
        presence=decision.presence,
        void=decision.void,
        dated=Dated.of(claim.dating),
        standing=found.findings.standing,
        anchored=claim.anchored,
        order=claim.order,
        signature=passports[0].signature if passports else None,
        aligned=found.aligned,
        branch=passports[0].branch if passports else None,
        answers=tuple(m.answers for m in marks if m.answers is not None),
        warnings=tuple(claim.warnings),
    )


def _warnings(judge: Judge, others: Sequence[OtherModel]) -> tuple[str, ...]:
    notes = []
    if not judge.trust.authorities:
        notes.append("no timestamp authority is trusted, so nothing is dated by one")
    if not any(other.kind in ("null", "base") for other in others):
        notes.append("no null model and no public base was compared, wrong keys only")
    notes += [
        f"the exhibit {other.name} is undated, so it ends no claim"
        for other in others
        if other.kind == "exhibit" and other.dated.earliest is None
    ]
    return tuple(notes)
