"""How often an unrelated suspect's e-value *ever* gets somewhere, whatever it does.

Judged at every moment, which is the most adversarial stopping there is. The same simulation is held
against tests that are built wrongly, where it must see the level exceeded: so it could see it.
"""

from __future__ import annotations

import numpy as np
import pytest

from modeldeed.statistics import absent_mixture, least_match_rate, present_mixture
from tests.statistics.simulation import (
    LEVELS,
    RUNS,
    STRATEGIES,
    balanced_labels,
    constant,
    crossings,
    keep_until_it_matches,
    labels_of_the_image,
    shown_above,
    shown_below,
    simulate,
)

FEW = 20_000  # enough to see what is wrong by far


def test_the_exact_bounds_tell_a_right_rate_from_a_wrong_one() -> None:
    """The bounds themselves: a rate at the level is not shown to be below it, nor above it."""
    random = np.random.default_rng(1)
    for level in LEVELS:
        counts = random.binomial(RUNS, level, 2000)
        few, many = np.quantile(counts, (0.005, 1)).astype(int).tolist()
        assert not shown_below(few, RUNS, level)
        assert not shown_above(many, RUNS, level)
        assert shown_below(int(0.65 * level * RUNS), RUNS, level)
        assert shown_above(int(1.7 * level * RUNS), RUNS, level)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(("classes", "planned"), [(2, 50), (10, 50)])
def test_no_suspect_makes_false_positives_beyond_the_level(
    strategy: str, classes: int, planned: int
) -> None:
    highest = simulate(STRATEGIES[strategy], classes=classes, planned=planned, seed=1)
    for level in LEVELS:
        assert shown_below(crossings(highest, level), RUNS, level)


@pytest.mark.parametrize("strategy", ["constant", "most_frequent_match", "refuse_when_ahead"])
def test_nor_with_many_classes(strategy: str) -> None:
    runs = 20_000  # a class takes a column in each run
    highest = simulate(STRATEGIES[strategy], classes=300, planned=64, seed=2, runs=runs)
    for level in LEVELS[:2]:
        assert shown_below(crossings(highest, level), runs, level)


# --- the same simulation sees what is wrong ---


@pytest.mark.parametrize(("classes", "planned"), [(2, 50), (10, 50)])
def test_restarting_is_seen(classes: int, planned: int) -> None:
    """The best of twenty transcripts."""
    highest = simulate(constant, classes=classes, planned=planned, seed=3)
    best = highest.reshape(-1, 20).max(1)
    for level in LEVELS:
        assert shown_above(crossings(best, level), len(best), level)


@pytest.mark.parametrize(("classes", "planned"), [(2, 50), (10, 50)])
def test_dropping_mismatches_is_seen(classes: int, planned: int) -> None:
    """A refusal recognized after comparing: a third of the mismatches is "skipped"."""
    highest = simulate(constant, classes=classes, planned=planned, seed=4, runs=FEW, dropped=1 / 3)
    for level in LEVELS:
        assert shown_above(crossings(highest, level), FEW, level)


@pytest.mark.parametrize(("classes", "planned"), [(2, 20), (10, 120)])
def test_balanced_labels_are_seen_by_a_suspect_that_counts(classes: int, planned: int) -> None:
    labels = balanced_labels(classes, planned, FEW, seed=5)
    counting = simulate(
        keep_until_it_matches, classes=classes, planned=planned, seed=6, runs=FEW, labels=labels
    )
    for level in LEVELS:
        assert shown_above(crossings(counting, level), FEW, level)


@pytest.mark.parametrize(("classes", "planned"), [(2, 84), (10, 50)])
def test_labels_that_depend_on_images_are_seen(classes: int, planned: int) -> None:
    """In one trigger of ten the label is what every model answers there."""
    labels = labels_of_the_image(0.1)
    highest = simulate(constant, classes=classes, planned=planned, seed=7, runs=FEW, labels=labels)
    for level in LEVELS:
        assert shown_above(crossings(highest, level), FEW, level)


# --- "not verified" about a suspect that matches often enough ---


def highest_absent(classes: int, rates: np.ndarray, seed: int) -> np.ndarray:
    """The largest reversed ln E; ``rates`` are the chances to match after a match or mismatch."""
    random = np.random.default_rng(seed)
    mixture, planned = absent_mixture(classes), 80
    queries = np.arange(planned + 1)
    table = mixture.log_e(np.minimum(queries, queries[:, None]), queries[:, None])
    matches, last, highest = np.zeros(RUNS, int), np.zeros(RUNS, int), np.zeros(RUNS)
    for query in range(1, planned + 1):
        last = (random.random(RUNS) < rates[last]).astype(int)
        matches += last
        np.maximum(highest, table[query][matches], out=highest)
    return highest


@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize("extra", [(0.0, 0.0), (0.2, 0.0), (0.0, 0.2)])
def test_a_match_rate_that_is_high_enough_is_not_called_absent(
    classes: int, extra: tuple[float, float]
) -> None:
    """Also where the rate depends on what happened, but never falls below q_min."""
    highest = highest_absent(classes, least_match_rate(classes) + np.array(extra), seed=8)
    for level in LEVELS:
        assert shown_below(crossings(highest, level), RUNS, level)


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_a_match_rate_that_is_too_low_is_seen(classes: int) -> None:
    rates = np.full(2, least_match_rate(classes) - 0.12)
    highest = highest_absent(classes, rates, seed=9)
    for level in LEVELS:
        assert shown_above(crossings(highest, level), RUNS, level)


def test_the_simulation_computes_what_the_package_computes() -> None:
    """Power of the tables above: one transcript, step by step."""
    matched = np.random.default_rng(0).random(64) < 0.1
    path = [
        float(present_mixture(10).log_e(int(matched[:n].sum()), n)) for n in range(len(matched) + 1)
    ]
    always = lambda past: (np.zeros(past.runs, np.int64), np.ones(past.runs, bool))  # noqa: E731
    labels = lambda past: np.full(past.runs, int(not matched[past.step]))  # noqa: E731
    (highest,) = simulate(always, classes=10, planned=64, seed=0, runs=1, labels=labels)
    assert highest == max(path)
