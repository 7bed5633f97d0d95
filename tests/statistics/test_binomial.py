"""Tail probabilities against exact sums."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from modeldeed.errors import OptionError
from modeldeed.statistics import LN2, binomial, log_binomial_tail
from tests.statistics.oracle import exact_tail, log_of

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
    monkeypatch.setattr(binomial, "_EXACT_BITS", 0)
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


@pytest.mark.parametrize("classes", [3, 10, 100, 1000, 100_000])
@pytest.mark.parametrize("trials", [1, 27, 64, 168])
def test_tails_of_labels_are_right_at_both_ends(classes: int, trials: int) -> None:
    """ln p of a fixed sample at rate 1/K, as the float that is nearest to it."""
    rate = Fraction(1 / classes)
    for matches in sorted({1, trials // 10 + 1, trials // 2 + 1, trials - trials // 10, trials}):
        above = exact_tail(matches, trials, rate)
        # Near p = 1 the logarithm of a rounded p is worthless; −ln(1 − x) = x + x²/2 + x³/3 + …
        small = 1 - above
        near_one = -float(sum(small**power / power for power in range(1, 7)))
        expected = log_of(above) if small > Fraction(1, 100) else near_one
        found = log_binomial_tail(matches, trials, 1 / classes)
        assert found == pytest.approx(expected, rel=1e-9, abs=0)


def test_a_perfect_transcript_of_many_classes() -> None:
    found = log_binomial_tail(64, 64, 1 / 1000)
    assert found == pytest.approx(64 * math.log(1 / 1000), rel=1e-14)
