"""The exact distribution of how a match test ends, against every transcript there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from modeldeed.errors import OptionError
from modeldeed.results import Verdict
from modeldeed.statistics import (
    BLACK_BOX,
    Budget,
    MatchTest,
    boundaries,
    information_limit,
    least_match_rate,
    log_e_absent_path,
    log_e_path,
    stopping,
)

ANCHORED = Budget(alpha_log2=20, grinding_log2=20)
SMALL = Budget(alpha_log2=3, grinding_log2=1)


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.7, 1.0])
@pytest.mark.parametrize("classes", [2, 10])
def test_it_is_the_sum_over_all_transcripts(classes: int, rate: float) -> None:
    planned = 9
    chances = dict.fromkeys(Verdict, 0.0)
    lengths = np.zeros(planned + 1)
    for transcript in itertools.product([True, False], repeat=planned):
        test, chance = MatchTest(classes, SMALL, planned=planned), 1.0
        for matched in transcript:
            if test.decision is None:
                test.update(matched)
            chance *= rate if matched else 1 - rate
        chances[test.decision] += chance
        lengths[test.queries] += chance
    found = stopping(classes, rate, SMALL, planned=planned)
    assert found.verified == pytest.approx(chances[Verdict.VERIFIED], abs=1e-12)
    assert found.not_verified == pytest.approx(chances[Verdict.NOT_VERIFIED], abs=1e-12)
    assert found.inconclusive == pytest.approx(chances[Verdict.INCONCLUSIVE], abs=1e-12)
    assert found.expected_queries == pytest.approx(lengths @ np.arange(planned + 1))
    assert found.median_queries == np.searchsorted(lengths.cumsum(), 0.5 - 1e-12)
    assert found.planned == planned


@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize("budget", [BLACK_BOX, ANCHORED])
def test_boundaries_are_where_the_e_values_cross(classes: int, budget: Budget) -> None:
    limits = boundaries(classes, budget, planned=120)
    for queries in (1, 5, 30, 119, 120):
        everything = np.arange(queries) < np.arange(queries + 1)[:, None]  # 0 … n matches
        present = log_e_path(everything, classes)[:, -1]
        absent = log_e_absent_path(everything, classes)[:, -1]
        enough = MatchTest(classes, budget).log_e_threshold
        assert limits.verified[queries - 1] == queries + 1 - (present >= enough).sum()
        assert limits.not_verified[queries - 1] == (absent >= np.log(1000)).sum() - 1


@pytest.mark.parametrize("classes", [2, 10, 100, 1000])
@pytest.mark.parametrize("budget", [BLACK_BOX, ANCHORED])
def test_a_fresh_mark_is_verified_within_a_third_of_the_limit(classes: int, budget: Budget) -> None:
    for rate in (0.99, 0.995, 1.0):
        found = stopping(classes, rate, budget)
        assert found.verified > 0.999
        assert found.expected_queries < 1.3 * information_limit(classes, budget)


@pytest.mark.parametrize("classes", [2, 10, 100, 1000])
@pytest.mark.parametrize("budget", [BLACK_BOX, ANCHORED])
def test_the_promised_errors_are_kept(classes: int, budget: Budget) -> None:
    """Exactly, and over many more triggers than are ever planned."""
    chance = stopping(classes, 1 / classes, budget, planned=400)
    assert 0 <= chance.verified <= 2**-budget.e_threshold_log2
    assert chance.not_verified > 0.9999
    present = stopping(classes, least_match_rate(classes), budget, planned=400)
    assert 0 < present.not_verified <= 1e-3


def test_the_chances_add_up() -> None:
    for rate in np.linspace(0, 1, 11):
        found = stopping(10, float(rate))
        total = found.verified + found.not_verified + found.inconclusive
        assert total == pytest.approx(1, abs=1e-12)
        assert found.median_queries <= found.planned == 64


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_impossible_rates_are_refused(rate: float) -> None:
    with pytest.raises(OptionError, match="match rate is in"):
        stopping(10, rate)


def test_impossible_plans_are_refused() -> None:
    with pytest.raises(OptionError, match="at least one planned trigger"):
        boundaries(10, planned=0)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.9])
def test_half_of_all_tests_have_closed_at_the_median(rate: float) -> None:
    median = stopping(10, rate, planned=100).median_queries
    shorter, just = (stopping(10, rate, planned=count) for count in (median - 1, median))
    assert shorter.inconclusive > 0.5 >= just.inconclusive
