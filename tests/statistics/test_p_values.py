"""Calibration of p-values under the null, and ranks."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from modeldeed.errors import OptionError
from modeldeed.statistics import (
    log_binomial_tail,
    randomized_p_value,
    randomized_p_values,
    rank_p_value,
    uniformity_p_value,
)
from tests.statistics.oracle import exact_tail

counts = st.integers(0, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def simulated(rate: float, *, randomized: bool, bits: int = 200, times: int = 5000) -> list[float]:
    random = np.random.default_rng(20_240_601)
    matches, uniforms = random.binomial(bits, rate, times), random.uniform(size=times)
    if randomized:
        return [
            randomized_p_value(int(m), bits, float(u))
            for m, u in zip(matches, uniforms, strict=True)
        ]
    return [math.exp(log_binomial_tail(int(m), bits)) for m in matches]


def test_randomized_p_values_are_uniform_under_the_null() -> None:
    """Power: matches at a rate of 0.51 instead of ½ are rejected with certainty."""
    assert kstest(simulated(0.5, randomized=True), "uniform").pvalue > 0.01
    assert kstest(simulated(0.51, randomized=True), "uniform").pvalue < 1e-20


def test_plain_p_values_are_valid_but_not_uniform() -> None:
    plain = np.array(simulated(0.5, randomized=False))
    assert kstest(plain, "uniform").pvalue < 1e-10
    for level in (0.5, 0.1, 0.01):
        # Three standard deviations above the level would be a program that cheats.
        assert (plain <= level).mean() < level + 3 * math.sqrt(level * (1 - level) / len(plain))


@given(counts.filter(lambda count: count[1] > 0), st.floats(0.001, 0.999))
def test_a_randomized_p_value_lies_between_its_neighbours(
    count: tuple[int, int], uniform: float
) -> None:
    matches, trials = count
    above = exact_tail(matches + 1, trials)
    expected = float(above + Fraction(uniform) * (exact_tail(matches, trials) - above))
    assert randomized_p_value(matches, trials, uniform) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("uniform", [0.0, 1.0, -0.1, math.nan])
def test_a_draw_outside_the_unit_interval_is_refused(uniform: float) -> None:
    with pytest.raises(OptionError, match="uniform draw"):
        randomized_p_value(1, 2, uniform)


def test_the_rank_counts_ties_against_the_owner() -> None:
    assert rank_p_value(0.9, [0.1, 0.2, 0.3]) == 1 / 4
    assert rank_p_value(0.2, [0.1, 0.2, 0.3]) == 3 / 4
    assert rank_p_value(0.5, []) == 1


def test_nan_never_helps_the_owner() -> None:
    assert rank_p_value(math.nan, [0.1, 0.2, 0.3]) == 1
    assert rank_p_value(0.9, [math.nan, 0.2, 0.3]) == 2 / 4


def test_the_rank_is_uniform_when_owner_and_decoys_are_alike() -> None:
    """Chi-squared over ten ranks of 4,000 draws; 99.9 % point of 9 degrees is 27.9."""
    random = np.random.default_rng(7)
    ranks = [rank_p_value(row[0], row[1:].tolist()) for row in random.normal(size=(4000, 10))]
    counted = np.bincount(np.round(np.array(ranks) * 10).astype(int), minlength=11)[1:]
    assert ((counted - 400) ** 2 / 400).sum() < 27.9


def test_many_randomized_p_values_are_the_single_ones_with_recorded_draws() -> None:
    matches = [0, 3, 5, 5, 8]
    found = randomized_p_values(matches, 8, seed=11)
    assert found == randomized_p_values(matches, [8] * 5, seed=11)
    assert found != randomized_p_values(matches, 8, seed=12)
    for count, p in zip(matches, found, strict=True):
        above = float(exact_tail(count + 1, 8))
        at = math.comb(8, count) / 2**8
        uniform = (p - above) / at
        assert 0 < uniform < 1
        assert p == pytest.approx(randomized_p_value(count, 8, uniform))
    assert found[2] != found[3]  # one draw for each, also where counts are equal


def test_randomized_p_values_of_differing_trials_are_uniform() -> None:
    """Power: the same counts held against the largest number of trials are rejected."""
    random = np.random.default_rng(5)
    trials = random.integers(100, 200, 4000).tolist()
    matches = random.binomial(trials, 0.5).tolist()
    assert uniformity_p_value(randomized_p_values(matches, trials, seed=1)) > 0.01
    wrong = randomized_p_values(matches, 200, seed=1)
    assert uniformity_p_value(wrong) < 1e-300
    assert uniformity_p_value(wrong, one_sided=True) > 0.99  # too large, which is allowed there


def test_the_one_sided_test_rejects_p_values_that_are_too_small() -> None:
    small = simulated(0.51, randomized=True)
    assert uniformity_p_value(small, one_sided=True) < 1e-20
    large = simulated(0.49, randomized=True)
    assert uniformity_p_value(large) < 1e-20
    assert uniformity_p_value(large, one_sided=True) > 0.99


@pytest.mark.parametrize(
    ("matches", "trials", "told"),
    [([9], 8, "0 … 8, got 9"), ([-1], 8, "got -1"), ([1, 2], [3], "2 counts .* but 1")],
)
def test_impossible_lists_of_counts_are_refused(
    matches: list[int], trials: int | list[int], told: str
) -> None:
    with pytest.raises(OptionError, match=told):
        randomized_p_values(matches, trials, seed=0)


def test_no_p_values_are_not_tested() -> None:
    with pytest.raises(OptionError, match="at least one"):
        uniformity_p_value([])
