"""The mean of e-values, in logarithms."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldeed.errors import OptionError
from modeldeed.statistics import average_log_e
from tests.statistics.oracle import log_of


@given(st.lists(st.integers(-300, 300), min_size=1, max_size=6), st.integers(0, 3))
def test_it_is_the_mean(powers: list[int], missing: int) -> None:
    """Batches that were not begun are worth 1 each."""
    count = len(powers) + missing
    expected = (sum(Fraction(2) ** power for power in powers) + missing) / count
    found = average_log_e([power * math.log(2) for power in powers], planned=count)
    assert found == pytest.approx(log_of(expected), rel=1e-12, abs=1e-12)


def test_the_smallest_double_is_no_limit() -> None:
    assert average_log_e([1e5, 1e5]) == 1e5
    assert average_log_e([-1e5, -1e5]) == -1e5
    assert average_log_e([1e5, -1e5]) == pytest.approx(1e5 - math.log(2))


def test_a_refuted_batch_does_not_undo_a_good_one() -> None:
    assert average_log_e([10.0, -math.inf]) == pytest.approx(10 - math.log(2))
    assert average_log_e([-math.inf]) == -math.inf


def test_taking_as_many_batches_as_it_needs_would_break_the_bound() -> None:
    """Why ``planned`` exists: t is to be reached, a first batch pays t with a chance of 1/t.

    Where it paid nothing, a second is played for 2t with a chance of 1/(2t).
    """
    t = 100.0
    good, bad, double = math.log(t), -math.inf, math.log(2 * t) + 1e-12
    assert average_log_e([good]) >= good
    assert average_log_e([bad, double]) >= good
    assert 1 / t + (1 - 1 / t) / (2 * t) > 1.4 / t  # so often, if both count
    assert average_log_e([good], planned=2) < good


@pytest.mark.parametrize("log_es", [[math.nan], [1.0, math.inf], [math.nan, 0.0]])
def test_what_is_no_e_value_is_refused(log_es: list[float]) -> None:
    with pytest.raises(OptionError, match="an e-value is a number below infinity"):
        average_log_e(log_es)


def test_impossible_numbers_of_batches_are_refused() -> None:
    with pytest.raises(OptionError, match=r"at least one batch .* got 0"):
        average_log_e([])
    with pytest.raises(OptionError, match="none beyond the planned 1, got 2"):
        average_log_e([0.0, 0.0], planned=1)
    assert average_log_e([], planned=2) == 0
