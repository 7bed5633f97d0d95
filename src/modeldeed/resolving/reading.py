"""Reading one claim's marks in one model: from weights, or from answers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from modeldeed.alignment.reading import repriced, twice
from modeldeed.errors import SuspectError
from modeldeed.passport.claim import PassportClaim
from modeldeed.passport.evidence.coloured import seen_weights
from modeldeed.passport.evidence.message import codewords_of
from modeldeed.passport.evidence.reading import judge_signature, load_layers, read_signature
from modeldeed.passport.examination import BranchCheck, branch_evidence
from modeldeed.querying.answer_claim import AnswerClaim
from modeldeed.querying.answer_evidence import judge_answers
from modeldeed.querying.examination import Examination
from modeldeed.resolving.examinee import Examinee
from modeldeed.resolving.judge import Judge
from modeldeed.resolving.results import MarkReading
from modeldeed.resolving.words import Presence
from modeldeed.results import (
    AnswerEvidence,
    BranchEvidence,
    SignatureEvidence,
    Verdict,
)
from modeldeed.statistics import LN2, LN10, Budget
from modeldeed.suspects import Weights
from modeldeed.suspects.restored import restore

__all__ = ["JudgedMark", "ReadMark", "both_paid", "presence_of", "read_mark"]

_LOG2_OF_10 = LN10 / LN2


@dataclass(frozen=True)
class JudgedMark:
    """One mark of a deed as its opening shows it.

    Attributes:
        kind: ``"passport"``, ``"triggers"`` or ``"plugin"``.
        claim: what is read, or asked; None for a plug-in where no carriers of the judge's fit.
        budget: of every number the stricter one of deed and judge.
        anchored: whether an authority of the judge's dated its anchor.
        batches: of questions that may be used; empty for a passport.
    """

    kind: str
    claim: PassportClaim | AnswerClaim | None
    budget: Budget
    anchored: bool
    batches: tuple[int, ...] = ()


@dataclass(frozen=True)
class ReadMark:
    """What came of reading a mark, with the evidence behind it."""

    reading: MarkReading
    signature: SignatureEvidence | None = None
    branch: BranchEvidence | None = None
    answers: AnswerEvidence | None = None
    warnings: tuple[str, ...] = field(default=())


def presence_of(readings: Sequence[MarkReading]) -> Presence:
    """Whether a claim is present in a model: the strongest of its marks counts."""
    verdicts = {reading.verdict for reading in readings}
    if Verdict.VERIFIED in verdicts:
        return Presence.PRESENT
    # What could not be examined was not found absent.
    return Presence.ABSENT if verdicts == {Verdict.NOT_VERIFIED} else Presence.UNDECIDED


def both_paid(mark: ReadMark) -> ReadMark:
    """A direct reading of weights at the price of two readings, once there were two."""
    reading, signature = mark.reading, mark.signature
    if signature is None:
        return mark
    budget = twice(Budget(alpha_log2=reading.alpha_log2, grinding_log2=reading.grinding_log2))
    signature = repriced(signature, budget)
    verdict, reason = judge_signature(signature, budget)
    paid = signature.log10_p_paid * _LOG2_OF_10
    update = {"verdict": verdict, "reason": reason, "log2_p_paid": paid}
    return replace(mark, reading=reading.model_copy(update=update), signature=signature)


def read_mark(
    mark: JudgedMark, model: Examinee, judge: Judge, *, branch: BranchCheck | None = None
) -> ReadMark:
    """Read or ask a model for a mark, by direct reading only.

    Args:
        mark: opened.
        model: of any kind. Transcripts are kept of the suspect alone.
        judge: says how it is asked.
        branch: for level 2; its model holds this model's weights already.

    Returns:
        The reading; its verdict is None where the model cannot be examined for such a mark.

    Raises:
        SuspectError: a suspect that is asked cannot be reached.
    """
    if isinstance(mark.claim, PassportClaim):
        return _read(mark, mark.claim, model, branch)
    if mark.claim is None:
        return _unread(mark, "L3", "no benign data of the judge's fit this plug-in (--carriers)")
    return _ask(mark, mark.claim, model, judge)


def _read(
    mark: JudgedMark, claim: PassportClaim, model: Examinee, branch: BranchCheck | None
) -> ReadMark:
    if model.weights is None:
        return _unread(mark, "L1", "a passport is read from weights; this model is asked")
    key = claim.model_key()
    try:
        signature = _signature(model.weights, claim, key, mark.budget)
    except SuspectError as error:
        return _unread(mark, "L1", f"its tensors are not there: {_said(error, model)}")
    verdict, reason = judge_signature(signature, mark.budget)
    reading = MarkReading(
        mark=mark.kind,
        level="L1",
        verdict=verdict,
        reason=reason,
        alpha_log2=mark.budget.alpha_log2,
        grinding_log2=mark.budget.grinding_log2,
        matches=signature.matches,
        trials=signature.bits,
        log2_p=signature.log2_p,
        log2_p_paid=signature.log10_p_paid * _LOG2_OF_10,
    )
    private = None if branch is None else branch_evidence(claim, key, branch, verdict)
    return ReadMark(reading, signature, private, None, _warnings(signature))


def _signature(
    weights: Weights, claim: PassportClaim, key: bytes, budget: Budget
) -> SignatureEvidence:
    """Level 1. Unlike `examine_weights` it hashes nothing: a model is read many times here."""
    anchor = claim.manifest.anchor
    restored = restore(weights, anchor.targets)
    signature = read_signature(
        load_layers(*seen_weights(restored, anchor.targets, claim.factors)),
        key,
        budget,
        rows=anchor.passport_rule.rows,
        codewords=codewords_of(key, anchor.targets, claim.manifest.message),
    )
    weights.require_unchanged()
    return signature.model_copy(update={"reading": anchor.passport_rule.reading_name})


def _warnings(signature: SignatureEvidence) -> tuple[str, ...]:
    undecided = sum(layer.undecided for layer in signature.layers)
    if not undecided:
        return ()
    return (f"unreadable bits, counted as mismatches: {undecided} (zero rows or scales, or NaN)",)


def _ask(mark: JudgedMark, claim: AnswerClaim, model: Examinee, judge: Judge) -> ReadMark:
    if not model.can_be_asked:
        return _unread(mark, "L3", "asking weights needs model code that fits them (--model)")
    prepare = judge.prepare or claim.prepare
    examination = Examination(claim, mark.batches, None, None, mark.budget)
    try:
        with closing(model.asked(prepare, claim.manifest.anchor.classes)) as suspect:
            kept: Path | None = None
            if model.kind == "suspect" and suspect.identified:
                kept = judge.transcripts
            evidence = examination.run(suspect, kept)
    except SuspectError as error:
        if model.kind == "suspect":
            raise
        return _unread(mark, "L3", f"it does not answer: {_said(error, model)}")
    verdict, reason = judge_answers(evidence)
    log2_p = evidence.log10_p * _LOG2_OF_10
    reading = MarkReading(
        mark=mark.kind,
        level="L3",
        verdict=verdict,
        reason=reason,
        alpha_log2=mark.budget.alpha_log2,
        grinding_log2=mark.budget.grinding_log2,
        matches=evidence.matches,
        trials=evidence.queries,
        log2_p=log2_p,
        log2_p_paid=mark.budget.paid(log2_p * LN2) / LN2,
        transcripts=tuple(b.transcript for b in evidence.batches if b.transcript is not None),
    )
    return ReadMark(reading, answers=evidence)


def _said(error: SuspectError, model: Examinee) -> str:
    """What was said about a model, by its name instead of by where the judge keeps it."""
    text = " ".join(str(error).split()).rstrip(".")
    if isinstance(model.source, str | Path):
        text = text.replace(str(model.source), model.label)
    return "".join(c if c.isprintable() else "?" for c in text)[:500]


def _unread(mark: JudgedMark, level: Literal["L1", "L3"], reason: str) -> ReadMark:
    return ReadMark(
        MarkReading(
            mark=mark.kind,
            level=level,
            verdict=None,
            reason=reason,
            alpha_log2=mark.budget.alpha_log2,
            grinding_log2=mark.budget.grinding_log2,
        )
    )
