"""Tail probabilities against exact sums, the figures of SOUNDNESS.md, and calibration."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, kstest

from modeldeed import statistics
from modeldeed.errors import OptionError
from modeldeed.statistics import (
    LN2,
    Budget,
    log_binomial_tail,
    match_interval,
    randomized_p_value,
    randomized_p_values,
    rank_p_value,
    required_matches,
    uniformity_p_value,
)

UNANCHORED = Budget()
ANCHORED = Budget(grinding_log2=20)


def exact_tail(matches: int, trials: int, rate: Fraction = Fraction(1, 2)) -> Fraction:
    """P(X ≥ matches), term by term."""
    return sum(
        (
            math.comb(trials, j) * rate**j * (1 - rate) ** (trials - j)
            for j in range(matches, trials + 1)
        ),
        Fraction(0),
    )


def log_of(p: Fraction) -> float:
    return math.log(p.numerator) - math.log(p.denominator)


counts = st.integers(0, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts)
def test_the_tail_is_the_exact_sum(count: tuple[int, int]) -> None:
    matches, trials = count
    expected = log_of(exact_tail(matches, trials))
    assert log_binomial_tail(matches, trials) == pytest.approx(expected, rel=1e-12, abs=1e-13)


@given(
    st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.integers(1, 15).filter(lambda sixteenths: sixteenths != 8),
)
def test_the_tail_at_other_rates_is_the_exact_sum(count: tuple[int, int], sixteenths: int) -> None:
    expected = log_of(exact_tail(*count, Fraction(sixteenths, 16)))
    found = log_binomial_tail(*count, sixteenths / 16)
    assert found == pytest.approx(expected, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize(
    ("matches", "trials", "rate"), [(150, 1000, 0.1), (40, 60, 0.55), (30_000, 50_000, 0.59)]
)
def test_the_tail_at_other_rates_is_that_of_scipy(matches: int, trials: int, rate: float) -> None:
    expected = float(binom.logsf(matches - 1, trials, rate))
    assert log_binomial_tail(matches, trials, rate) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(("matches", "trials"), [(500, 672), (2852, 4800), (9000, 16_384)])
def test_both_ways_of_summing_agree(
    matches: int, trials: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = log_binomial_tail(matches, trials)
    monkeypatch.setattr(statistics, "_EXACT_BITS", 0)
    assert log_binomial_tail(matches, trials) == pytest.approx(exact, abs=1e-8)


def test_very_many_bits_agree_with_an_exact_sum() -> None:
    matches, trials = 12_000, 20_000
    # Each term is under two thirds of the one before: what is left out is below 10^-40.
    terms = sum(math.comb(trials, j) for j in range(matches, matches + 240))
    expected = math.log(terms) - trials * LN2
    assert log_binomial_tail(matches, trials) == pytest.approx(expected, abs=1e-8)


def test_thousands_of_bits_do_not_underflow() -> None:
    assert log_binomial_tail(4800, 4800) == pytest.approx(-4800 * LN2, rel=1e-15)
    assert log_binomial_tail(4799, 4800) == pytest.approx(math.log(4801) - 4800 * LN2, rel=1e-15)
    assert log_binomial_tail(20_000, 20_000) == pytest.approx(-20_000 * LN2, rel=1e-12)


@given(counts.filter(lambda count: count[0] > 0))
def test_more_matches_are_less_likely(count: tuple[int, int]) -> None:
    matches, trials = count
    assert log_binomial_tail(matches, trials) < log_binomial_tail(matches - 1, trials) + 1e-15


@pytest.mark.parametrize(
    ("matches", "trials", "rate"),
    [(-1, 5, 0.5), (6, 5, 0.5), (3, 5, 0.0), (3, 5, 1.0), (3, 5, math.nan), (0, -1, 0.5)],
)
def test_impossible_counts_and_rates_are_refused(matches: int, trials: int, rate: float) -> None:
    with pytest.raises(OptionError):
        log_binomial_tail(matches, trials, rate)


# --- the figures of SOUNDNESS.md §3 ---


@pytest.mark.parametrize(
    ("bits", "unanchored", "anchored"),
    [(672, 503, 471), (1152, 796, 753), (4800, 2852, 2763)],
)
def test_the_published_numbers_of_required_matches(
    bits: int, unanchored: int, anchored: int
) -> None:
    for budget, needed, log2 in ((UNANCHORED, unanchored, 128), (ANCHORED, anchored, 84)):
        assert required_matches(bits, budget) == needed
        above = sum(math.comb(bits, j) for j in range(needed, bits + 1))
        bound = 2 ** (bits - log2)
        assert above <= bound < above + math.comb(bits, needed - 1)


def test_the_published_thresholds() -> None:
    assert UNANCHORED.threshold_log2 == -128
    assert ANCHORED.threshold_log2 == -84
    assert Budget(readings=2).threshold_log2 == -129
    assert Budget(readings=3).threshold_log2 == pytest.approx(-128 - math.log2(3))


def test_127_perfect_bits_are_never_enough_unanchored() -> None:
    assert required_matches(127, UNANCHORED) is None
    assert not UNANCHORED.accepts(log_binomial_tail(127, 127))
    assert required_matches(128, UNANCHORED) == 128
    assert required_matches(128, Budget(readings=2)) is None


# --- budgets ---


@given(st.floats(-400, 0), st.integers(1, 200), st.integers(0, 100), st.integers(1, 8))
def test_a_budget_accepts_what_is_still_small_after_payment(
    log_p: float, alpha: int, grinding: int, readings: int
) -> None:
    budget = Budget(alpha_log2=alpha, grinding_log2=grinding, readings=readings)
    paid = budget.paid(log_p)
    assert log_p <= paid <= 0
    assert paid == pytest.approx(min(0.0, log_p + grinding * LN2 + math.log(readings)))
    if abs(paid + alpha * LN2) > 1e-9:
        assert budget.accepts(log_p) == (paid < -alpha * LN2)


@pytest.mark.parametrize("field", [{"alpha_log2": 0}, {"grinding_log2": -1}, {"readings": 0}])
def test_a_budget_out_of_range_is_refused(field: dict[str, int]) -> None:
    (value,) = field.values()
    with pytest.raises(OptionError, match=rf"budget needs .*got .*{value}"):
        Budget(**field)


# --- calibration under the null ---


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


# --- ranks ---


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


# --- many randomized p-values ---


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


@given(st.integers(1, 400), st.integers(1, 200), st.integers(0, 60))
def test_required_matches_is_the_least_that_is_accepted(
    bits: int, alpha: int, grinding: int
) -> None:
    budget = Budget(alpha_log2=alpha, grinding_log2=grinding)
    accepted = [m for m in range(bits + 1) if budget.accepts(log_binomial_tail(m, bits))]
    assert required_matches(bits, budget) == (min(accepted) if accepted else None)
