"""The figures of SOUNDNESS.md §3 on triggers, and the limit that they stand above."""

from __future__ import annotations

import pytest

from modeldeed.errors import OptionError
from modeldeed.statistics import (
    BLACK_BOX,
    LN2,
    Budget,
    information_limit,
    log_e_path,
    triggers_per_batch,
)

ANCHORED = Budget(alpha_log2=20, grinding_log2=20)


def test_the_published_limits() -> None:
    assert round(information_limit(10), 2) == 25.29
    assert round(information_limit(10, ANCHORED), 2) == 12.04
    assert information_limit(2) == 84
    assert information_limit(2, ANCHORED) == 40
    assert information_limit(2, Budget(alpha_log2=20, readings=4)) == 86


@pytest.mark.parametrize("classes", [2, 3, 10, 1000, 100_000])
def test_no_e_value_passes_the_limit(classes: int) -> None:
    path = log_e_path([True] * 100, classes) / LN2
    for budget in (BLACK_BOX, ANCHORED):
        first = int((path < budget.e_threshold_log2).sum()) + 1
        assert information_limit(classes, budget) <= first


@pytest.mark.parametrize(
    ("classes", "budget", "triggers"),
    [(10, BLACK_BOX, 64), (10, ANCHORED, 64), (2, BLACK_BOX, 168), (2, ANCHORED, 80),
     (4, BLACK_BOX, 84), (5, BLACK_BOX, 74), (1000, BLACK_BOX, 64)],
)  # fmt: skip
def test_the_published_numbers_of_triggers(classes: int, budget: Budget, triggers: int) -> None:
    assert triggers_per_batch(classes, budget) == triggers


@pytest.mark.parametrize("classes", [1, 0, -3])
def test_one_class_carries_no_information(classes: int) -> None:
    for function in (information_limit, triggers_per_batch):
        with pytest.raises(OptionError, match=f"from 2 classes on, got {classes}"):
            function(classes)


def test_the_budget_of_this_mark() -> None:
    assert 2**-BLACK_BOX.alpha_log2 <= 1e-6
    assert BLACK_BOX.e_threshold_log2 == 84
    assert BLACK_BOX.accepts_e(84 * LN2)
    assert not BLACK_BOX.accepts_e(84 * LN2 - 1e-9)
    assert ANCHORED.accepts_e(40 * LN2)
