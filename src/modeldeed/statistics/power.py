"""What a match test does to a suspect of a known match rate: exact, without simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modeldeed.errors import OptionError
from modeldeed.statistics.budget import BLACK_BOX, Budget
from modeldeed.statistics.logarithms import LN2
from modeldeed.statistics.match_test import LOG_E_ABSENT_THRESHOLD
from modeldeed.statistics.mixtures import absent_mixture, present_mixture
from modeldeed.statistics.planning import triggers_per_batch

__all__ = ["Boundaries", "Stopping", "boundaries", "stopping"]


@dataclass(frozen=True, eq=False)
class Boundaries:
    """The counts at which a match test closes, after each number of answers.

    Attributes:
        verified: entry n − 1 is the fewest matches of n answers that verify; n + 1 if none do.
        not_verified: the most matches of n answers that refute; −1 if none do.
    """

    verified: NDArray[np.int64]
    not_verified: NDArray[np.int64]


def boundaries(
    classes: int, budget: Budget = BLACK_BOX, *, planned: int | None = None
) -> Boundaries:
    """Compute when a match test closes, without refusals.

    Args:
        classes: K, 2 … 2³².
        budget: what the claim pays.
        planned: triggers of the batch; None takes `triggers_per_batch`.

    Returns:
        The counts for 1 … planned answers.

    Raises:
        OptionError: an argument is out of range.

    Example:
        >>> boundaries(10).verified[[25, 26, 63]].tolist()
        [27, 27, 43]
    """
    planned = triggers_per_batch(classes, budget) if planned is None else planned
    if planned < 1:
        raise OptionError(f"a match test needs at least one planned trigger, got {planned}")
    queries = np.arange(1, planned + 1)
    present, absent = present_mixture(classes), absent_mixture(classes)
    threshold = budget.e_threshold_log2 * LN2
    return Boundaries(
        _first(queries, lambda matches: present.log_e(matches, queries) >= threshold),
        _first(queries, lambda matches: absent.log_e(matches, queries) < LOG_E_ABSENT_THRESHOLD)
        - 1,
    )


def _first(
    queries: NDArray[np.int64], reached: Callable[[NDArray[np.int64]], NDArray[np.bool_]]
) -> NDArray[np.int64]:
    """The fewest matches for which something monotone holds, for each number of answers at once.

    One more than the answers where it never does. Both e-values are monotone in the matches.
    """
    low, high = np.zeros_like(queries), queries + 1
    while (searched := low < high).any():
        middle = np.minimum((low + high) // 2, queries)
        holds = reached(middle)
        high = np.where(searched & holds, middle, high)
        low = np.where(searched & ~holds, middle + 1, low)
    return low


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """How a match test ends.

    Attributes:
        planned: triggers of the batch.
        verified: chance of this outcome.
        not_verified: the same.
        inconclusive: the same; then all planned triggers were used.
        expected_queries: mean number of answers until the test closes.
        median_queries: the fewest answers after which at least half of all tests have closed.
    """

    planned: int
    verified: float
    not_verified: float
    inconclusive: float
    expected_queries: float
    median_queries: int


def stopping(
    classes: int, rate: float, budget: Budget = BLACK_BOX, *, planned: int | None = None
) -> Stopping:
    """The exact distribution of how a match test ends, for a suspect that refuses nothing.

    The chance of every pair (answers, matches) at which the test is still open follows from the
    pairs before it; nothing is drawn and nothing approximated.

    Args:
        classes: K, 2 … 2³².
        rate: the suspect's match rate, the same at every trigger, in [0, 1].
        budget: what the claim pays.
        planned: triggers of the batch; None takes `triggers_per_batch`.

    Returns:
        The chances of the three outcomes, which add up to 1, and how long it takes.

    Raises:
        OptionError: an argument is out of range.

    Note:
        The cost grows with the square of ``planned``: milliseconds for 168, seconds for 20,000.

    Example:
        >>> stopping(10, 1.0).expected_queries
        27.0
        >>> round(stopping(10, 0.1).not_verified, 6)
        0.999998
    """
    if not 0 <= rate <= 1:
        raise OptionError(f"a match rate is in [0, 1], got {rate}")
    limits = boundaries(classes, budget, planned=planned)
    last = len(limits.verified)
    still_open = np.zeros(last + 1)  # by matches so far
    still_open[0] = 1.0
    verified, not_verified = np.zeros(last), np.zeros(last)
    for index in range(last):
        matched = still_open[:-1] * rate
        still_open *= 1 - rate
        still_open[1:] += matched
        enough, too_few = limits.verified[index], limits.not_verified[index] + 1
        verified[index] = still_open[enough:].sum()
        not_verified[index] = still_open[:too_few].sum()
        still_open[enough:] = 0
        still_open[:too_few] = 0
    closed = verified + not_verified
    closed[-1] += still_open.sum()
    return Stopping(
        planned=last,
        verified=float(verified.sum()),
        not_verified=float(not_verified.sum()),
        inconclusive=float(still_open.sum()),
        expected_queries=float(closed @ np.arange(1, last + 1)),
        # A sum of chances can stay a rounding error under what it is.
        median_queries=int(np.searchsorted(closed.cumsum(), 0.5 - 1e-12)) + 1,
    )
