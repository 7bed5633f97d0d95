"""Thousands of transcripts at once: suspects that adapt, and tests that are built wrongly.

A suspect sees everything that ever happened to it: which answer it gave, and whether it matched.
Labels are hidden. Answers, labels and refusals of all runs are drawn step by step, so that a
strategy can use the whole past.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from modeldeed.statistics import present_mixture

RUNS = 100_000
LEVELS = (1 / 10, 1 / 100, 1 / 1000)


@dataclass
class Past:
    """What a suspect knows in each run.

    Attributes:
        hits: how often each class matched, shape ``(runs, K)``.
        score: matches so far.
        last: the last answer.
        matched: whether it matched.
    """

    classes: int
    runs: int
    random: np.random.Generator
    hits: NDArray[np.int8] = field(init=False)
    score: NDArray[np.int64] = field(init=False)
    last: NDArray[np.int64] = field(init=False)
    matched: NDArray[np.bool_] = field(init=False)
    step: int = 0

    def __post_init__(self) -> None:
        self.hits = np.zeros((self.runs, self.classes), np.int8)
        self.score = np.zeros(self.runs, np.int64)
        self.last = np.zeros(self.runs, np.int64)
        self.matched = np.zeros(self.runs, bool)

    def note(self, answers: NDArray[np.int64], matched: NDArray[np.bool_]) -> None:
        (rows,) = matched.nonzero()
        self.hits[rows, answers[rows]] += 1
        self.score += matched
        self.last, self.matched = answers, matched
        self.step += 1

    def any_class(self) -> NDArray[np.int64]:
        return self.random.integers(self.classes, size=self.runs)


Strategy = Callable[[Past], "tuple[NDArray[np.int64], NDArray[np.bool_]]"]
"""Answers of all runs, and in which of them the suspect answers at all."""


def _always(past: Past) -> NDArray[np.bool_]:
    return np.ones(past.runs, bool)


def constant(past: Past) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    return np.zeros(past.runs, np.int64), _always(past)


def repeat_what_matched(past: Past) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    return np.where(past.matched, past.last, past.any_class()), _always(past)


def most_frequent_match(past: Past) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    return past.hits.argmax(1), _always(past)


def avoid_what_matched(past: Past) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    return past.hits.argmin(1), _always(past)


def keep_until_it_matches(past: Past) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Count cards: a class that has not come yet is due, one that has is spent."""
    return np.where(past.matched, (past.last + 1) % past.classes, past.last), _always(past)


def refuse_after_a_mismatch(past: Past) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    answers, answering = past.any_class(), past.matched | (past.random.random(past.runs) < 0.5)
    return answers, answering


def refuse_when_ahead(past: Past) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    ahead = past.score * past.classes > past.step
    return past.any_class(), ~ahead | (past.random.random(past.runs) < 0.1)


STRATEGIES: dict[str, Strategy] = {
    strategy.__name__: strategy
    for strategy in (
        constant,
        repeat_what_matched,
        most_frequent_match,
        avoid_what_matched,
        keep_until_it_matches,
        refuse_after_a_mismatch,
        refuse_when_ahead,
    )
}

Labels = Callable[[Past], NDArray[np.int64]]


def uniform_labels(past: Past) -> NDArray[np.int64]:
    return past.any_class()


def balanced_labels(classes: int, planned: int, runs: int, seed: int) -> Labels:
    """Broken: among every K triggers each class stands once, in an order that is drawn."""
    random = np.random.default_rng(seed)
    blocks = np.broadcast_to(np.arange(classes), (runs, -(-planned // classes), classes))
    decks = random.permuted(blocks, axis=2).reshape(runs, -1)
    return lambda past: decks[:, past.step]


def labels_of_the_image(share: float) -> Labels:
    """Broken: in a share of triggers the label is what any model would answer there, class 0."""
    return lambda past: np.where(past.random.random(past.runs) < share, 0, past.any_class())


def simulate(
    strategy: Strategy,
    *,
    classes: int,
    planned: int,
    seed: int,
    runs: int = RUNS,
    labels: Labels = uniform_labels,
    dropped: float = 0.0,
) -> NDArray[np.float64]:
    """The largest ln E that each run ever reaches.

    Args:
        dropped: broken if above 0: the share of mismatches that are left out *after* comparing.
    """
    past = Past(classes, runs, np.random.default_rng(seed))
    table = _table(classes, planned).ravel()
    matches, queries = np.zeros(runs, np.int64), np.zeros(runs, np.int64)
    highest = np.zeros(runs)
    for _ in range(planned):
        answers, answering = strategy(past)
        matched = (answers == labels(past)) & answering
        counted = answering
        if dropped:
            counted = counted & (matched | (past.random.random(runs) >= dropped))
        past.note(answers, matched)
        matches += matched
        queries += counted
        np.maximum(highest, table[queries * (planned + 1) + matches], out=highest)
    return highest


def _table(classes: int, planned: int) -> NDArray[np.float64]:
    queries = np.arange(planned + 1)
    reachable = np.minimum(queries, queries[:, None])
    return present_mixture(classes).log_e(reachable, queries[:, None])


def crossings(highest: NDArray[np.float64], level: float) -> int:
    """In how many runs the e-value ever reached 1/level."""
    return int((highest >= -np.log(level)).sum())


def shown_below(count: int, runs: int, level: float) -> bool:
    """Tell whether so few crossings exclude a rate of ``level`` or more, exactly, at 10⁻³."""
    return bool(binom.cdf(count, runs, level) < 1e-3)


def shown_above(count: int, runs: int, level: float) -> bool:
    """Tell whether so many crossings exclude a rate of ``level`` or less, exactly, at 10⁻⁹."""
    return bool(binom.sf(count - 1, runs, level) < 1e-9)
