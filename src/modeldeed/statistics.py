"""Exact p-values of ownership, what a claim must pay, and intervals.

Everything is computed in logarithms: 4,800 matching bits have p = 2⁻⁴⁸⁰⁰, far under the smallest
double. Natural logarithms are the unit inside; ``log2`` and ``log10`` appear in names where a
value is in another one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp
from scipy.stats import binom, binomtest, kstest

from modeldeed.errors import OptionError

__all__ = [
    "Budget",
    "log_binomial_tail",
    "match_interval",
    "randomized_p_value",
    "randomized_p_values",
    "rank_p_value",
    "required_matches",
    "uniformity_p_value",
]

LN2 = math.log(2)
LN10 = math.log(10)

# Up to here the tail of a fair coin is summed in integers, without any rounding.
_EXACT_BITS = 16_384


def log_binomial_tail(matches: int, trials: int, rate: float = 0.5) -> float:
    """The natural logarithm of P(X ≥ matches) for X ~ Binomial(trials, rate).

    Args:
        matches: how many were seen, 0 … trials.
        trials: how many were tried, at least 0.
        rate: chance of one match under the null, in (0, 1).

    Returns:
        ln p ≤ 0. For rate ½ and up to 16,384 trials the sum is exact and only its logarithm is
        rounded; elsewhere the relative error of p is below 10⁻⁷ up to ten million trials.

    Raises:
        OptionError: an argument is out of range.

    Example:
        >>> log_binomial_tail(4800, 4800) / math.log(2)
        -4800.0
    """
    if not 0 <= matches <= trials:
        raise OptionError(f"matches must be in 0 … {trials}, got {matches}")
    if not 0 < rate < 1:
        raise OptionError(f"a match rate is in (0, 1), got {rate}")
    if matches == 0:
        return 0.0
    if rate == 0.5 and trials <= _EXACT_BITS:
        return math.log(_upper_sum(matches, trials)) - trials * LN2
    return min(0.0, float(logsumexp(binom.logpmf(np.arange(matches, trials + 1), trials, rate))))


def _upper_sum(matches: int, trials: int) -> int:
    """Sum of C(trials, j) over j ≥ matches, as an integer."""
    term = math.comb(trials, matches)
    total = term
    for j in range(matches, trials):
        term = term * (trials - j) // (j + 1)
        total += term
    return total


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
    return above, float(binom.pmf(matches, trials, rate))


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


def match_interval(matches: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact (Clopper–Pearson) interval of a match rate.

    Raises:
        OptionError: no trials, matches outside 0 … trials, or a confidence outside (0, 1).
    """
    if not 0 <= matches <= trials or trials == 0:
        raise OptionError(f"matches must be in 0 … trials with trials ≥ 1, got {matches}/{trials}")
    if not 0 < confidence < 1:
        raise OptionError(f"a confidence is in (0, 1), got {confidence}")
    interval = binomtest(matches, trials).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a p-value must pay before it counts: grinding, and every reading that was tried.

    A claimant can try nonces, labels or orders offline; each try costs him microseconds. So p is
    multiplied by 2^grinding, and by the number of readings, before it is held against alpha.

    Args:
        alpha_log2: −log2 of the false-positive bound, ≥ 64 for the white-box mark.
        grinding_log2: log2 of the tries that are paid for: 64 unanchored, 20 anchored.
        readings: how many ways of reading were tried.

    Raises:
        OptionError: a field is out of range.

    Example:
        >>> Budget().threshold_log2
        -128.0
    """

    alpha_log2: int = 64
    grinding_log2: int = 64
    readings: int = 1

    def __post_init__(self) -> None:
        if self.alpha_log2 < 1 or self.grinding_log2 < 0 or self.readings < 1:
            raise OptionError(
                "a budget needs alpha_log2 ≥ 1, grinding_log2 ≥ 0 and readings ≥ 1, got "
                f"{self.alpha_log2}, {self.grinding_log2}, {self.readings}"
            )

    @property
    def threshold_log2(self) -> float:
        """log2 of the largest p that is still accepted."""
        return -float(self.alpha_log2 + self.grinding_log2) - math.log2(self.readings)

    def paid(self, log_p: float) -> float:
        """The natural logarithm of p after payment, at most 0."""
        return min(0.0, log_p + self.grinding_log2 * LN2 + math.log(self.readings))

    def accepts(self, log_p: float) -> bool:
        """Tell whether p after payment is at most alpha."""
        return log_p <= self.threshold_log2 * LN2


def required_matches(trials: int, budget: Budget) -> int | None:
    """The fewest matches of ``trials`` fair bits that a budget accepts.

    Returns:
        The count, or None when even a perfect match does not suffice.

    Example:
        >>> required_matches(672, Budget())
        503
    """
    if not budget.accepts(log_binomial_tail(trials, trials)):
        return None
    # Found in floating point and settled exactly: an exact tail of many bits takes long.
    low, high = 0, trials
    while low < high:
        middle = (low + high) // 2
        if binom.logsf(middle - 1, trials, 0.5) / LN2 <= budget.threshold_log2:
            high = middle
        else:
            low = middle + 1
    while low > 0 and budget.accepts(log_binomial_tail(low - 1, trials)):
        low -= 1
    while not budget.accepts(log_binomial_tail(low, trials)):
        low += 1
    return low
