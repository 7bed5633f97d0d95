"""What evidence must pay before it counts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import bdtrc

from modeldeed.errors import OptionError
from modeldeed.statistics.binomial import log_binomial_tail
from modeldeed.statistics.logarithms import LN2

__all__ = ["BLACK_BOX", "Budget", "required_matches"]


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
    def e_threshold_log2(self) -> float:
        """log2 of the smallest e-value that is accepted: readings · 2^grinding / alpha."""
        return -self.threshold_log2

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

    def accepts_e(self, log_e: float) -> bool:
        """Tell whether an e-value, given as its natural logarithm, pays for everything."""
        return log_e >= self.e_threshold_log2 * LN2


BLACK_BOX = Budget(alpha_log2=20, grinding_log2=64)
"""Of the black-box mark: a false positive in 2²⁰ (less than 10⁻⁶), unanchored."""


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
    low, high, estimate = 0, trials, 2.0**budget.threshold_log2
    while low < high:
        middle = (low + high) // 2
        if bdtrc(middle - 1, trials, 0.5) <= estimate:
            high = middle
        else:
            low = middle + 1
    while low > 0 and budget.accepts(log_binomial_tail(low - 1, trials)):
        low -= 1
    while not budget.accepts(log_binomial_tail(low, trials)):
        low += 1
    return low
