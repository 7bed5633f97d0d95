"""E-values against their definition, and the laws that make them evidence."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldeed.errors import OptionError
from modeldeed.statistics import absent_mixture, least_match_rate, present_mixture
from tests.statistics.oracle import (
    absent_rates,
    e_value,
    least_rate,
    log_e_value,
    log_of,
    present_rates,
)

all_classes = st.sampled_from([2, 3, 10, 17, 1000, 99_991, 100_000])
counts = st.integers(0, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(all_classes, counts)
def test_the_e_value_is_the_mean_of_likelihood_ratios(classes: int, count: tuple[int, int]) -> None:
    expected = e_value(present_rates(classes), Fraction(1, classes), *count)
    found = float(present_mixture(classes).log_e(*count))
    assert found == pytest.approx(log_of(expected), rel=1e-12, abs=1e-12)


@given(all_classes, counts)
def test_the_reversed_e_value_is_the_mean_of_likelihood_ratios(
    classes: int, count: tuple[int, int]
) -> None:
    expected = e_value(absent_rates(classes), least_rate(classes), *count)
    found = float(absent_mixture(classes).log_e(*count))
    assert found == pytest.approx(log_of(expected), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("classes", [2, 10, 1000, 100_000])
@pytest.mark.parametrize("share", [0.0, 1e-4, 0.1, 0.5, 0.6, 0.97, 1.0])
def test_tens_of_thousands_of_queries_lose_no_digits(classes: int, share: float) -> None:
    for queries in (30_000, 100_000):
        matches = round(share * queries)
        for mixture, rates, null in (
            (present_mixture(classes), present_rates(classes), Fraction(1, classes)),
            (absent_mixture(classes), absent_rates(classes), least_rate(classes)),
        ):
            expected = log_e_value(rates, null, matches, queries)
            assert float(mixture.log_e(matches, queries)) == pytest.approx(expected, abs=1e-9)


@given(all_classes, counts)
def test_chance_expects_what_it_has(classes: int, count: tuple[int, int]) -> None:
    """The martingale: E = P(match)·E(after a match) + P(mismatch)·E(after a mismatch)."""
    matches, queries = count
    now, hit, miss = np.exp(
        present_mixture(classes).log_e(
            [matches, matches + 1, matches], np.array([0, 1, 1]) + queries
        )
        - present_mixture(classes).log_e(matches, queries)
    )
    assert now == 1
    assert hit / classes + miss * (1 - 1 / classes) == pytest.approx(1, rel=1e-12)
    assert hit > 1 > miss


@given(all_classes, counts, st.floats(0, 1))
def test_a_rate_that_is_high_enough_expects_no_more_than_it_has(
    classes: int, count: tuple[int, int], share: float
) -> None:
    """The supermartingale against every rate from q_min up, and no further down."""
    matches, queries = count
    mixture = absent_mixture(classes)
    logs = mixture.log_e([matches + 1, matches], queries + 1) - mixture.log_e(matches, queries)
    hit, miss = np.exp(logs)
    least = least_match_rate(classes)
    assert hit < 1 < miss
    assert least * hit + (1 - least) * miss == pytest.approx(1, rel=1e-12)
    for rate, sign in ((least + share * (1 - least), 1), (share * least, -1)):
        assert sign * (rate * hit + (1 - rate) * miss - 1) <= 1e-12


def test_before_the_first_answer_nothing_is_known() -> None:
    for classes in (2, 10, 1000):
        assert float(present_mixture(classes).log_e(0, 0)) == 0
        assert float(absent_mixture(classes).log_e(0, 0)) == 0


def test_counts_of_any_shape_are_broadcast() -> None:
    found = present_mixture(10).log_e(np.arange(6).reshape(2, 3), 7)
    assert found.shape == (2, 3)
    assert found[1, 2] == float(present_mixture(10).log_e(5, 7))


def test_cached_rules_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        present_mixture(10).log_match[0] = 0.0


def test_the_rules_have_names() -> None:
    assert present_mixture(10).name == "grid-20/v1"
    assert absent_mixture(10).name == "below-20/v1"
    # Golden: under these names no other numbers may ever stand.
    assert math.exp(float(present_mixture(10).log_e(1, 1))) == pytest.approx(5.6725, rel=1e-14)
    assert math.exp(float(absent_mixture(10).log_e(0, 1))) == pytest.approx(1.525, rel=1e-14)


@pytest.mark.parametrize("classes", [-1, 0, 1, 2**32 + 1])
def test_impossible_numbers_of_classes_are_refused(classes: int) -> None:
    for mixture in (present_mixture, absent_mixture):
        with pytest.raises(OptionError, match=f"2 … 2\\*\\*32 classes, got {classes}"):
            mixture(classes)
