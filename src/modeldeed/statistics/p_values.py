"""p-values whose distribution is known, and the test that they have it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from modeldeed.errors import OptionError
from modeldeed.statistics.binomial import log_binomial, log_binomial_tail

__all__ = ["randomized_p_value", "randomized_p_values", "rank_p_value", "uniformity_p_value"]


def randomized_p_value(matches: int, trials: int, uniform: float, rate: float = 0.5) -> float:
    """P(X > matches) + uniform · P(X = matches): exactly uniform under the null.

    Plain p-values of counts are not uniform, so a uniformity test on them rejects a correct
    program; these are what calibration is checked with.

    Args:
        matches: how many were seen, 0 … trials.
        trials: how many were tried.
        uniform: an independent draw from (0, 1), with a recorded seed.
        rate: chance of one match under the null.

    Returns:
        p in (0, 1).

    Raises:
        OptionError: an argument is out of range.
    """
    if not 0 < uniform < 1:
        raise OptionError(f"the uniform draw is in (0, 1), got {uniform}")
    above, at = _above_and_at(matches, trials, rate)
    return above + uniform * at


def _above_and_at(matches: int, trials: int, rate: float) -> tuple[float, float]:
    """P(X > matches) and P(X = matches)."""
    if not 0 <= matches <= trials:
        raise OptionError(f"matches must be in 0 … {trials}, got {matches}")
    above = math.exp(log_binomial_tail(matches + 1, trials, rate)) if matches < trials else 0.0
    return above, math.exp(float(log_binomial(np.array(matches), trials, rate)))


def randomized_p_values(
    matches: Sequence[int], trials: int | Sequence[int], *, seed: int, rate: float = 0.5
) -> list[float]:
    """`randomized_p_value` of many counts, with draws that anybody can make again.

    Args:
        matches: how many were seen, time after time.
        trials: how many were tried: the same each time, or one number for each count.
        seed: of the uniform draws (numpy's PCG64), chosen before the counts are seen.
        rate: chance of one match under the null.

    Returns:
        One p in (0, 1) for each count, in their order.

    Raises:
        OptionError: an argument is out of range, or counts and trials differ in number.

    Example:
        >>> [round(p, 3) for p in randomized_p_values([3, 5], 8, seed=0)]
        [0.776, 0.204]
    """
    each = [trials] * len(matches) if isinstance(trials, int) else list(trials)
    if len(each) != len(matches):
        raise OptionError(f"{len(matches)} counts of matches but {len(each)} of trials")
    counts = list(zip(matches, each, strict=True))
    parts = {count: _above_and_at(*count, rate) for count in set(counts)}
    # Midpoints of 2⁵² equal cells: exact, and neither 0 nor 1.
    cells = np.random.default_rng(seed).integers(0, 2**52, len(counts))
    uniforms: list[float] = ((cells + 0.5) / 2**52).tolist()
    return [
        parts[count][0] + uniform * parts[count][1]
        for count, uniform in zip(counts, uniforms, strict=True)
    ]


def uniformity_p_value(p_values: Sequence[float], *, one_sided: bool = False) -> float:
    """Test whether p-values are uniform (Kolmogorov–Smirnov).

    Args:
        p_values: at least one, independent of each other.
        one_sided: reject only if they are too small. Where a bit can be unreadable and counts as a
            mismatch, honest p-values are larger than uniform, which harms nobody but the claimant.

    Returns:
        The test's own p-value.

    Raises:
        OptionError: there are no p-values.
    """
    # Seconds to import, and only calibration asks for it.
    from scipy.stats import kstest  # noqa: PLC0415

    if not len(p_values):
        raise OptionError("a test of uniformity needs at least one p-value")
    if one_sided:  # too many small values: their distribution function lies above the uniform one
        return float(kstest(p_values, "uniform", alternative="greater").pvalue)
    return float(kstest(p_values, "uniform").pvalue)


def rank_p_value(owner: float, decoys: list[float]) -> float:
    """(1 + #{decoys ≥ owner}) / (1 + #decoys), valid when owner and decoys are exchangeable.

    A comparison with NaN counts against the owner.
    """
    return (1 + sum(not decoy < owner for decoy in decoys)) / (1 + len(decoys))
