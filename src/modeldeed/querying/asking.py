"""Asking a suspect about one batch of questions, no oftener than the test needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from modeldeed.querying.answer_claim import Questions
from modeldeed.statistics import (
    LOG_E_ABSENT_THRESHOLD,
    MOST_REFUSED,
    MatchTest,
    absent_mixture,
    present_mixture,
)
from modeldeed.suspects.answering import Suspect, Transcript, ask_recorded
from modeldeed.suspects.answering.batches import sample_digest
from modeldeed.suspects.answering.recording import require_samples

__all__ = ["Asked", "Progress", "ask_all", "ask_sequentially", "least_further", "recorded_outcomes"]

_SEEN_TOGETHER = 8
"""Samples at once where that is seen: what comes after the decision is asked in vain."""

Progress = Callable[[int, int], None]
"""Told (answers so far, questions of the batch); nothing of what was answered."""


@dataclass(frozen=True)
class Asked:
    """What a suspect answered about a batch.

    Attributes:
        outcomes: question by question: whether its label was answered; None for a refusal.
        foreign: answers that are no class of the claim, and so mismatches.
        transcript: digest of the transcript; None if none was kept.
    """

    outcomes: tuple[bool | None, ...]
    foreign: int
    transcript: str | None


def ask_sequentially(
    suspect: Suspect,
    questions: Questions,
    test: MatchTest,
    transcript: Transcript | None = None,
    progress: Progress | None = None,
) -> Asked:
    """Ask until the test closes.

    Questions go out in groups just large enough for the test to be able to close at their end: no
    answer is asked for that the test does not use. An endpoint is asked in groups of its own fixed
    size instead, so that it learns nothing from their sizes; what comes after the decision in its
    last group does not count.

    Args:
        suspect: who is asked; None of its answers is kept elsewhere.
        questions: in the order in which they are asked.
        test: open and empty; closed afterwards.
        transcript: of this batch and suspect. What it holds is not asked again.
        progress: told after every group.

    Returns:
        The outcomes the test saw.

    Raises:
        SuspectError: the suspect cannot be reached or does not answer; what it answered before
            is in the transcript.
        EvidenceError: the transcript is about something else, or cannot be written.
    """
    outcomes: list[bool | None] = []
    foreign = 0
    while test.decision is None:
        asked = len(outcomes)
        seen = min(suspect.group_size, _SEEN_TOGETHER)
        size = seen if suspect.sees_groups else least_further(test)
        stop = min(asked + size, test.planned)
        labels = _asked(suspect, questions, stop, asked, transcript)
        outcomes += _tested(labels[asked:stop], questions.labels[asked:stop].tolist(), test)
        foreign += _foreign(labels[asked : len(outcomes)], test.classes)
        if progress:
            progress(len(outcomes), test.planned)
    return Asked(tuple(outcomes), foreign, None if transcript is None else transcript.digest)


def ask_all(
    suspect: Suspect,
    questions: Questions,
    classes: int,
    count: int,
    transcript: Transcript | None = None,
    progress: Progress | None = None,
) -> Asked:
    """Ask the first questions of a batch, as many as was said before."""
    labels = _asked(suspect, questions, count, 0, transcript)[:count]
    if progress:
        progress(count, count)
    outcomes = tuple(_tested(labels, questions.labels[:count].tolist(), None))
    digest = None if transcript is None else transcript.digest
    return Asked(outcomes, _foreign(labels, classes), digest)


def _asked(
    suspect: Suspect, questions: Questions, stop: int, start: int, transcript: Transcript | None
) -> Sequence[int | None]:
    """Answers to the first questions; those before ``start`` are not asked again."""
    if transcript is None:
        return [None] * start + list(suspect.labels(questions.inputs[start:stop]))
    most = max(0, stop - len(transcript.answers))
    return ask_recorded(suspect, questions.inputs, transcript, most=most)


def recorded_outcomes(
    transcript: Transcript,
    questions: Questions,
    classes: int,
    test: MatchTest | None = None,
    count: int | None = None,
) -> Asked:
    """What stands in a transcript, as far as the test uses it.

    Args:
        transcript: of this batch.
        questions: of the batch.
        classes: K.
        test: open and empty; None takes all answers.
        count: take no more than so many; None for all.

    Raises:
        EvidenceError: the transcript is about other samples, or in another order.
    """
    require_samples(transcript, [sample_digest(sample) for sample in questions.inputs])
    labels = [answered.label for answered in transcript.answers][:count]
    wanted = questions.labels[: len(labels)].tolist()
    outcomes = tuple(_tested(labels, wanted, test))
    return Asked(outcomes, _foreign(labels[: len(outcomes)], classes), transcript.digest)


def _foreign(labels: Sequence[int | None], classes: int) -> int:
    return sum(label is not None and not 0 <= label < classes for label in labels)


def _tested(
    labels: Sequence[int | None], wanted: Sequence[int], test: MatchTest | None
) -> list[bool | None]:
    """Compare answers with labels in their order, until the test closes."""
    outcomes: list[bool | None] = []
    for label, right in zip(labels, wanted, strict=True):
        if test is not None and test.decision is not None:
            break
        outcomes.append(None if label is None else label == right)
        if test is not None and label is None:
            test.refuse()
        elif test is not None:
            test.update(label == right)
    return outcomes


def least_further(test: MatchTest) -> int:
    """How many answers it takes at least until a test can close, whatever they are.

    Example:
        >>> least_further(MatchTest(10)), least_further(MatchTest(2, planned=200))
        (13, 13)
    """
    left = test.planned - test.queries - test.refused
    further = np.arange(1, left + 1)
    queries = test.queries + further
    present = present_mixture(test.classes).log_e(test.matches + further, queries)
    absent = absent_mixture(test.classes).log_e(np.full_like(further, test.matches), queries)
    refusals = int(MOST_REFUSED * test.planned) + 1 - test.refused
    ends = [left, refusals]
    for path, threshold in ((present, test.log_e_threshold), (absent, LOG_E_ABSENT_THRESHOLD)):
        reached = np.flatnonzero(path >= threshold)
        ends += [int(further[reached[0]])] if len(reached) else []
    return max(1, min(ends))
