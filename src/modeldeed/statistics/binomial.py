"""Tails of the binomial distribution, far below the smallest double."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, logsumexp, xlog1py, xlogy

from modeldeed.errors import OptionError
from modeldeed.statistics.logarithms import LN2

__all__ = ["log_binomial", "log_binomial_tail"]

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
        rounded; elsewhere the relative error of p is below 10⁻⁷ up to ten million trials. Up to
        3,000 trials the relative error of ln p is below 10⁻¹⁰ for rates from 10⁻⁵ to ⅓.

    Raises:
        OptionError: an argument is out of range.

    Note:
        p belongs to a number of trials that was fixed beforehand. After a test that stopped when
        it was decided it is smaller than it should be; `MatchTest` gives an e-value for that.

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
    if matches <= trials * rate:  # p is near 1, and 1 − p is what can be summed without loss
        return math.log1p(-math.exp(_log_sum(0, matches - 1, trials, rate)))
    return min(0.0, _log_sum(matches, trials, trials, rate))


def log_binomial(
    matches: npt.NDArray[np.int64], trials: int, rate: float
) -> npt.NDArray[np.float64]:
    """The natural logarithm of P(X = matches) for X ~ Binomial(trials, rate).

    Args:
        matches: of any shape, each 0 … trials.
        trials: how many were tried.
        rate: chance of one match, in (0, 1).
    """
    others = trials - matches
    ways = gammaln(trials + 1) - gammaln(matches + 1) - gammaln(others + 1)
    found: npt.NDArray[np.float64] = ways + xlogy(matches, rate) + xlog1py(others, -rate)
    return found


def _log_sum(first: int, last: int, trials: int, rate: float) -> float:
    """Ln P(first ≤ X ≤ last)."""
    return float(logsumexp(log_binomial(np.arange(first, last + 1), trials, rate)))


def _upper_sum(matches: int, trials: int) -> int:
    """Sum of C(trials, j) over j ≥ matches, as an integer."""
    term = math.comb(trials, matches)
    total = term
    for j in range(matches, trials):
        term = term * (trials - j) // (j + 1)
        total += term
    return total
