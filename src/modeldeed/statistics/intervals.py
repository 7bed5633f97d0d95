"""Intervals of a match rate: for a number of trials fixed beforehand, and for any moment."""

from __future__ import annotations

import math

from scipy.optimize import brentq
from scipy.special import betaincinv, betaln

from modeldeed.errors import OptionError

__all__ = ["match_interval", "match_rate_sequence"]

_LEAST_LOG_RATE = -700.0


def match_interval(matches: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact (Clopper–Pearson) interval of a match rate.

    Args:
        matches: how many were seen, 0 … trials.
        trials: how many were tried, at least 1: a number that was fixed before the first.
        confidence: chance that the interval covers the rate, in (0, 1).

    Returns:
        Lower and upper end.

    Raises:
        OptionError: no trials, matches outside 0 … trials, or a confidence outside (0, 1).

    Note:
        If the number of trials depended on the results, as after a test that stops as soon as it
        is decided, this covers less often than it says: use `match_rate_sequence`.
    """
    _check(matches, trials, confidence)
    others, outside = trials - matches, (1 - confidence) / 2
    low = betaincinv(matches, others + 1, outside) if matches else 0.0
    high = betaincinv(matches + 1, others, 1 - outside) if others else 1.0
    return float(low), float(high)


def match_rate_sequence(
    matches: int, queries: int, confidence: float = 0.95
) -> tuple[float, float]:
    """An interval of a match rate that holds at every moment, also the one chosen for stopping.

    For a suspect whose chance to match is q at every trigger,
    M_n(q) = B(m + ½, n − m + ½)/B(½, ½) / (qᵐ (1 − q)ⁿ⁻ᵐ) is a martingale starting at 1: the
    likelihood of the m matches in n answers, averaged over a Beta(½, ½) distribution of rates,
    divided by that of q. By Ville's inequality it *ever* reaches 1/(1 − confidence) with a chance
    of at most 1 − confidence. The interval is all q that it has not reached.

    Args:
        matches: how many matched so far, 0 … queries.
        queries: how many answers there are so far, at least 1.
        confidence: chance that *all* intervals of a transcript cover the rate, in (0, 1).

    Returns:
        Lower and upper end; wider than `match_interval`, which is the price of stopping freely.

    Raises:
        OptionError: no queries, matches outside 0 … queries, or a confidence outside (0, 1).

    Note:
        It is about one rate that stays as it is, as of a model that answers every trigger alike.
        The verdict needs no such assumption; see `MatchTest`.

    Reference:
        H. Robbins, Statistical methods related to the law of the iterated logarithm, Annals of
        Mathematical Statistics 1970; the prior is that of Krichevsky and Trofimov, 1981.

    Example:
        >>> [round(end, 3) for end in match_rate_sequence(27, 27)]
        [0.824, 1.0]
    """
    _check(matches, queries, confidence)
    misses = queries - matches
    return (
        _lower_end(matches, misses, confidence),
        1 - _lower_end(misses, matches, confidence),
    )


def _lower_end(hits: int, others: int, confidence: float) -> float:
    """The smallest rate of hits whose martingale has not reached 1/(1 − confidence)."""
    if not hits:
        return 0.0
    average = float(betaln(hits + 0.5, others + 0.5) - betaln(0.5, 0.5))
    bound = average + math.log1p(-confidence)

    def excess(log_rate: float) -> float:
        other = others * math.log1p(-math.exp(log_rate)) if others else 0.0
        return hits * log_rate + other - bound

    # The likelihood rises up to its peak; by logarithms, because rates can be tiny.
    peak = math.log(hits / (hits + others))
    return math.exp(brentq(excess, _LEAST_LOG_RATE, peak, xtol=1e-13))


def _check(matches: int, trials: int, confidence: float) -> None:
    if not 0 <= matches <= trials or trials == 0:
        raise OptionError(f"matches must be in 0 … trials with trials ≥ 1, got {matches}/{trials}")
    if not 0 < confidence < 1:
        raise OptionError(f"a confidence is in (0, 1), got {confidence}")
