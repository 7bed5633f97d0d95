"""Budgets, and the figures of SOUNDNESS.md §3."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldeed.errors import OptionError
from modeldeed.statistics import LN2, Budget, log_binomial_tail, required_matches

UNANCHORED = Budget()
ANCHORED = Budget(grinding_log2=20)


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


@given(st.integers(1, 400), st.integers(1, 200), st.integers(0, 60))
def test_required_matches_is_the_least_that_is_accepted(
    bits: int, alpha: int, grinding: int
) -> None:
    budget = Budget(alpha_log2=alpha, grinding_log2=grinding)
    accepted = [m for m in range(bits + 1) if budget.accepts(log_binomial_tail(m, bits))]
    assert required_matches(bits, budget) == (min(accepted) if accepted else None)
