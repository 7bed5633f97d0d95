"""Intervals of a match rate cover as often as they say."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom

from modeldeed.errors import OptionError
from modeldeed.statistics import match_interval, match_rate_sequence


@pytest.mark.parametrize(("trials", "confidence"), [(20, 0.95), (7, 0.8), (60, 0.99)])
def test_the_interval_covers_at_least_as_often_as_it_says(trials: int, confidence: float) -> None:
    intervals = [match_interval(m, trials, confidence) for m in range(trials + 1)]
    for rate in np.linspace(0.01, 0.99, 99):
        weights = binom.pmf(np.arange(trials + 1), trials, rate)
        covered = [low <= rate <= high for low, high in intervals]
        assert weights[covered].sum() >= confidence - 1e-12
    assert intervals[0][0] == 0
    assert intervals[-1][1] == 1
    # Neither side may be wider than Clopper and Pearson make it.
    for m in range(1, trials):
        low, high = intervals[m]
        assert binom.sf(m - 1, trials, low) == pytest.approx((1 - confidence) / 2)
        assert binom.cdf(m, trials, high) == pytest.approx((1 - confidence) / 2)


@pytest.mark.parametrize(("matches", "trials"), [(0, 0), (3, 2), (-1, 2)])
def test_an_interval_of_impossible_counts_is_refused(matches: int, trials: int) -> None:
    with pytest.raises(OptionError, match="matches must be in"):
        match_interval(matches, trials)


def test_an_interval_of_impossible_confidence_is_refused() -> None:
    with pytest.raises(OptionError, match="confidence"):
        match_interval(1, 2, 95)


Interval = Callable[[int, int, float], tuple[float, float]]


def covered_counts(interval: Interval, rate: float, queries: int) -> tuple[int, int]:
    """The fewest and the most matches whose interval covers the rate; both ends are monotone."""

    def first(holds: Callable[[int], bool]) -> int:
        low, high = 0, queries + 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(middle) else (middle + 1, high)
        return low

    fewest = first(lambda m: interval(m, queries, 0.95)[1] >= rate)
    return fewest, first(lambda m: interval(m, queries, 0.95)[0] > rate) - 1


def ever_missed(interval: Interval, rate: float, last: int) -> float:
    """The exact chance that some interval on the way does not cover the rate."""
    missing_none = np.zeros(last + 2)
    missing_none[0] = 1.0
    for queries in range(1, last + 1):
        matched = missing_none[:-1] * rate
        missing_none *= 1 - rate
        missing_none[1:] += matched
        fewest, most = covered_counts(interval, rate, queries)
        missing_none[:fewest] = 0
        missing_none[most + 1 :] = 0
    return 1 - float(missing_none.sum())


@pytest.mark.parametrize("rate", [0.03, 0.1, 0.5, 0.9])
def test_the_sequence_covers_whenever_one_stops(rate: float) -> None:
    """Power: an interval for a fixed number misses far too often when its end is chosen."""
    missed = ever_missed(match_rate_sequence, rate, 80)
    assert 1e-4 < missed <= 0.05
    if rate == 0.5:
        assert ever_missed(match_interval, rate, 50) > 0.08


@pytest.mark.parametrize(
    ("matches", "queries"), [(0, 1), (1, 1), (3, 10), (1, 5000), (4999, 5000), (70_000, 100_000)]
)
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999999])
def test_the_ends_are_where_the_mixture_reaches_its_bound(
    matches: int, queries: int, confidence: float
) -> None:
    low, high = match_rate_sequence(matches, queries, confidence)
    assert 0 <= low <= matches / queries <= high <= 1
    hits, misses = math.lgamma(matches + 0.5), math.lgamma(queries - matches + 0.5)
    log_beta = hits + misses - math.lgamma(queries + 1) - math.log(math.pi)
    for end, edge in ((low, 0.0), (high, 1.0)):
        if end == edge:
            assert matches == edge * queries
            continue
        likelihood = matches * math.log(end) + (queries - matches) * math.log1p(-end)
        assert log_beta - likelihood == pytest.approx(-math.log(1 - confidence), abs=1e-4)


def test_the_price_of_stopping_freely() -> None:
    fixed, free = match_interval(50, 60), match_rate_sequence(50, 60)
    assert free[0] < fixed[0] < fixed[1] < free[1]
    assert free[1] - free[0] < 2 * (fixed[1] - fixed[0])


@pytest.mark.parametrize(("matches", "queries"), [(0, 0), (3, 2), (-1, 2)])
def test_a_sequence_of_impossible_counts_is_refused(matches: int, queries: int) -> None:
    with pytest.raises(OptionError, match="matches must be in"):
        match_rate_sequence(matches, queries)
    with pytest.raises(OptionError, match="confidence"):
        match_rate_sequence(1, 2, 1.0)
