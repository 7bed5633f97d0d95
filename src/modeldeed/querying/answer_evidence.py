"""What answers amount to: from outcomes to evidence, and from evidence to a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence

from modeldeed.querying.asking import Asked
from modeldeed.results import AnswerEvidence, BatchAnswers, NullAnswers, Verdict
from modeldeed.statistics import (
    ABSENT_ALPHA,
    LN2,
    LN10,
    MOST_REFUSED,
    Budget,
    absent_mixture,
    average_log_e,
    least_match_rate,
    log_binomial_tail,
    match_interval,
    match_rate_sequence,
    present_mixture,
)

__all__ = ["answer_evidence", "batch_answers", "judge_answers", "null_answers"]


def batch_answers(batch: int, asked: Asked, classes: int, planned: int) -> BatchAnswers:
    """What a suspect's outcomes on one batch amount to.

    Args:
        batch: its number.
        asked: the outcomes.
        classes: K.
        planned: questions that could have been asked.
    """
    compared = [outcome for outcome in asked.outcomes if outcome is not None]
    matches, queries = sum(compared), len(compared)
    return BatchAnswers(
        batch=batch,
        planned=planned,
        queries=queries,
        matches=matches,
        refused=len(asked.outcomes) - queries,
        foreign=asked.foreign,
        outcomes=asked.outcomes,
        log10_e=float(present_mixture(classes).log_e(matches, queries)) / LN10,
        log10_e_absent=float(absent_mixture(classes).log_e(matches, queries)) / LN10,
        transcript=asked.transcript,
    )


def null_answers(model: str, outcomes: Sequence[bool | None], classes: int) -> NullAnswers:
    """What a model that is not accused made of the same triggers."""
    compared = [outcome for outcome in outcomes if outcome is not None]
    matches, queries = sum(compared), len(compared)
    return NullAnswers(
        model=model,
        queries=queries,
        matches=matches,
        outcomes=tuple(outcomes),
        log10_e=float(present_mixture(classes).log_e(matches, queries)) / LN10,
    )


def answer_evidence(
    batches: Sequence[BatchAnswers],
    *,
    family: str,
    classes: int,
    planned_batches: int,
    budget: Budget,
    fixed: bool,
) -> AnswerEvidence:
    """All batches together.

    Args:
        batches: those that were begun, at least one.
        family: how the questions were drawn.
        classes: K.
        planned_batches: how many there were to be.
        budget: what the claim pays, apart from the batches.
        fixed: the number of queries was fixed before.
    """
    queries = sum(batch.queries for batch in batches)
    matches = sum(batch.matches for batch in batches)
    log_e = average_log_e([b.log10_e * LN10 for b in batches], planned=planned_batches)
    absent = average_log_e([b.log10_e_absent * LN10 for b in batches], planned=planned_batches)
    if not queries:
        low, high = 0.0, 1.0
    else:
        low, high = (match_interval if fixed else match_rate_sequence)(matches, queries)
    log_p = log_binomial_tail(matches, queries, 1 / classes) if fixed else min(0.0, -log_e)
    return AnswerEvidence(
        test="fixed" if fixed else "sequential",
        family=family,
        classes=classes,
        planned=sum(batch.planned for batch in batches),
        queries=queries,
        matches=matches,
        refused=sum(batch.refused for batch in batches),
        match_rate=matches / queries if queries else None,
        rate_low=low,
        rate_high=high,
        log10_e=None if fixed else log_e / LN10,
        log10_p=log_p / LN10,
        threshold_log10=budget.e_threshold_log2 * LN2 / LN10,
        log10_e_absent=None if fixed else absent / LN10,
        least_rate=least_match_rate(classes),
        batches=tuple(batches),
    )


def judge_answers(evidence: AnswerEvidence) -> tuple[Verdict, str]:
    """The verdict on answers, and why in one sentence without its full stop.

    A verdict follows from counts alone: sequentially from e-values, of a fixed number from exact
    tails of the binomial distribution.
    """
    seen = f"{evidence.matches} of {evidence.queries} answers are the key's labels"
    chance = f"an unrelated model matches 1 in {evidence.classes}"
    if evidence.refused > MOST_REFUSED * evidence.planned:
        return Verdict.INCONCLUSIVE, (
            f"{evidence.refused} of {evidence.planned} questions were refused, more than a fifth"
        )
    asked = evidence.queries + evidence.refused
    # The exact p of a fixed number holds at that number and at no moment chosen later.
    if evidence.test == "fixed" and asked < evidence.planned:
        return Verdict.INCONCLUSIVE, f"{seen}; only {asked} of {evidence.planned} were asked"
    if -evidence.log10_p >= evidence.threshold_log10:
        return Verdict.VERIFIED, f"{seen}; {chance}"
    if _absent(evidence):
        return Verdict.NOT_VERIFIED, (
            f"{seen}; a model with the mark would match at {evidence.least_rate:.2f} or more"
        )
    # A batch that more than a fifth of was refused is ended as well, before it is used up.
    if any(_open(batch) for batch in evidence.batches):
        return Verdict.INCONCLUSIVE, f"{seen}; the examination was broken off undecided"
    return Verdict.INCONCLUSIVE, f"{seen}; the questions are used up and decide nothing"


def _open(batch: BatchAnswers) -> bool:
    """Whether a batch of a sequential test neither decided nor ended."""
    return (
        batch.queries + batch.refused < batch.planned
        and batch.refused <= MOST_REFUSED * batch.planned
        and batch.log10_e_absent < -math.log10(ABSENT_ALPHA)
    )


def _absent(evidence: AnswerEvidence) -> bool:
    if evidence.log10_e_absent is not None:
        return evidence.log10_e_absent >= -math.log10(ABSENT_ALPHA)
    if not evidence.queries:
        return False
    misses = evidence.queries - evidence.matches
    tail = log_binomial_tail(misses, evidence.queries, 1 - evidence.least_rate)
    return tail <= math.log(ABSENT_ALPHA)
