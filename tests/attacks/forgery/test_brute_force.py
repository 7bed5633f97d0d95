"""The best of T unrelated keys is what theory says: the search that the budget pays for."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from modeldeed import Owner
from modeldeed.attacks.forgery import (
    BruteForce,
    FittedKey,
    Stolen,
    chance_of_best,
    expected_best,
    judged,
)
from modeldeed.attacks.forgery._keys import Tries
from modeldeed.errors import OptionError
from tests.attacks.forgery.marked import Victim

Hold = Callable[[Victim], Stolen]
BITS, TRIES, ROUNDS = 160, 20, 40


@pytest.fixture(scope="module")
def tries(victim: Victim, dataset, tmp_path_factory) -> Tries:
    folder = tmp_path_factory.mktemp("forged")
    stolen = Stolen(victim.model, dataset, lambda seed: victim.model, folder)
    return Tries(stolen, Owner(bytes([9]) * 32))


def test_a_tried_key_is_the_key_of_its_label(tries: Tries) -> None:
    for label in ("model 3", "ä"):
        passport = tries.passport(label)
        assert passport.manifest.model_key(tries._owner) == tries.key(label)
        assert passport.signature().matches == tries.matches(label)


def test_the_minimum_p_over_keys_is_what_theory_says(tries: Tries) -> None:
    """The best of T keys, over and over with fresh keys, against its exact distribution.

    χ² over a few cells of about equal chance; it would notice an unpaid factor of 2 in the number
    of tries with certainty, and a match rate of 0.52 in place of ½.
    """
    assert tries.bits == BITS
    best = [
        tries.best(TRIES, lambda i, r=r: f"round {r}, key {i}")[1]  # type: ignore[misc]
        for r in range(ROUNDS)
    ]
    edges = [0, 90, 92, 94, BITS + 1]
    above = [1.0] + [chance_of_best(m, BITS, TRIES) for m in edges[1:-1]] + [0.0]
    expected = ROUNDS * -np.diff(above)
    assert expected.min() > 5
    counts = np.histogram(best, edges)[0]
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert chi2.sf(statistic, len(expected) - 1) > 1e-3
    error = (np.mean(best) - expected_best(BITS, TRIES)) / (np.std(best) / ROUNDS**0.5)
    assert abs(error) < 4
    smallest = min(math.exp(_log_p(m)) for m in best)
    assert 1e-3 < 1 - (1 - smallest) ** (TRIES * ROUNDS) < 0.999


def _log_p(matches: int) -> float:
    from modeldeed.statistics import log_binomial_tail

    return log_binomial_tail(matches, BITS)


def test_the_distribution_of_the_best_is_exact() -> None:
    """By hand: two bits, two keys; both below two matches with chance (3/4)²."""
    assert chance_of_best(2, 2, 2) == pytest.approx(1 - (3 / 4) ** 2)
    assert expected_best(2, 2) == pytest.approx((1 - (1 / 4) ** 2) + (1 - (3 / 4) ** 2))
    assert chance_of_best(0, 10, 5) == 1
    assert chance_of_best(128, 128, 10**5) == pytest.approx(10**5 * 2.0**-128)
    assert expected_best(288, 1) == pytest.approx(144)
    drawn = np.random.default_rng(0).binomial(288, 0.5, (4_000, 100)).max(1)
    assert abs(drawn.mean() - expected_best(288, 100)) < 4 * drawn.std() / 4_000**0.5
    for bad in (chance_of_best, lambda *a: expected_best(*a[1:])):
        with pytest.raises(OptionError):
            bad(1, 2, 0)


def test_the_best_key_is_claimed_and_not_verified(
    victim: Victim, hold: Hold, generator: torch.Generator
) -> None:
    (claim,) = BruteForce(keys=300).claims(hold(victim), generator)
    report = judged(claim, victim.model).report
    assert report is not None
    assert report.signature is not None
    matches = report.signature.matches
    assert 1e-4 < chance_of_best(matches, BITS, 300) < 1 - 1e-4
    assert not judged(claim, victim.model).accepted


def test_hill_climbing_is_worth_no_more_than_its_steps(
    victim: Victim, hold: Hold, generator: torch.Generator
) -> None:
    (claim,) = FittedKey(steps=300).claims(hold(victim), generator)
    report = judged(claim, victim.model).report
    assert report is not None
    assert report.signature is not None
    assert 1e-4 < chance_of_best(report.signature.matches, BITS, 300) < 1 - 1e-4
