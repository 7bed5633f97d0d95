"""Mixtures of likelihood ratios: e-values of a match rate, from two counts.

Every answer to a trigger matches its label or does not. A likelihood ratio of one rate against
another multiplies, answer by answer, one number for a match and one for a mismatch; the average of
twenty such products is the e-value. It depends on the past through the counts alone, so it can be
computed for any of them at once.

Names with a version are rules of evidence: what is averaged may never change under the same name.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modeldeed.errors import OptionError

__all__ = ["ABSENT_PRIOR", "PRESENT_PRIOR", "Mixture", "absent_mixture", "present_mixture"]

PRESENT_PRIOR = "grid-20/v1"
ABSENT_PRIOR = "below-20/v1"

_POINTS = 20
_MOST_CLASSES = 2**32  # as labels are drawn


@dataclass(frozen=True, eq=False)
class Mixture:
    """Equally weighted likelihood ratios of match rates against one rate.

    Attributes:
        name: the versioned rule it follows.
        log_match: ln of each ratio for one match, shape ``(20,)``.
        log_mismatch: ln of each ratio for one mismatch, shape ``(20,)``.
    """

    name: str
    log_match: NDArray[np.float64]
    log_mismatch: NDArray[np.float64]

    def log_e(self, matches: ArrayLike, queries: ArrayLike) -> NDArray[np.float64]:
        """The natural logarithm of the e-value after so many queries.

        Args:
            matches: how many answers matched; any shape.
            queries: how many answers there were, as large or larger; broadcast against it.

        Returns:
            ln E, of the common shape; 0 without queries. Its absolute error is below 10⁻⁹ up to
            100,000 queries and classes.
        """
        matched = np.asarray(matches, np.float64)[..., np.newaxis]
        missed = np.asarray(queries, np.float64)[..., np.newaxis] - matched
        logs = matched * self.log_match + missed * self.log_mismatch
        # Spelled out: scipy's logsumexp takes ten times as long for one pair of counts.
        top = logs.max(-1, keepdims=True)
        summed: NDArray[np.float64] = np.log(np.exp(logs - top).mean(-1)) + top[..., 0]
        return summed


def _mixture(name: str, match: list[float], mismatch: list[float]) -> Mixture:
    logs = np.log(match), np.log(mismatch)
    for array in logs:
        array.flags.writeable = False  # they are cached and shared
    return Mixture(name, *logs)


@lru_cache(maxsize=64)
def present_mixture(classes: int) -> Mixture:
    """Match rates above chance against chance: large when the mark is present.

    With K classes and qⱼ = 1/K + (0.99 − 1/K)·j/20, j = 1 … 20, a match multiplies the j-th product
    with qⱼ·K and a mismatch with (1 − qⱼ)/(1 − 1/K). Under P(match | past) = r the expected factor
    is 1 + (r − 1/K)·(K·qⱼ − 1)/(1 − 1/K): exactly 1 at r = 1/K, and less below. So E is a
    martingale starting at 1, whatever the suspect did before, and by Ville's inequality it *ever*
    reaches 1/α with a chance of at most α.

    Args:
        classes: K, 2 … 2³².

    Returns:
        The rule "grid-20/v1".

    Raises:
        OptionError: the number of classes is out of range.

    Example:
        >>> bits = present_mixture(10).log_e([26, 27], [26, 27]) / np.log(2)
        >>> (bits >= 84).tolist()
        [False, True]
    """
    _check_classes(classes)
    # Whole numbers until one division: K·qⱼ = 1 + (99K − 100)·j/2000, and the mismatch alike.
    steps = [(99 * classes - 100) * j for j in range(1, _POINTS + 1)]
    match, mismatch = 100 * _POINTS, 100 * _POINTS * (classes - 1)
    return _mixture(
        PRESENT_PRIOR,
        [(match + step) / match for step in steps],
        [(mismatch - step) / mismatch for step in steps],
    )


@lru_cache(maxsize=64)
def absent_mixture(classes: int) -> Mixture:
    """Match rates below q_min against q_min = (1 + 1/K)/2: large when the mark is absent.

    The rates are qⱼ = 1/K + (q_min − 1/K)·j/20, j = 0 … 19: from chance, where an unrelated suspect
    stands exactly, up to just below q_min. E is an e-process against *every* suspect that matches
    with a chance of at least q_min, whatever that chance depends on. Proof: a match multiplies the
    j-th product with a = qⱼ/q_min < 1, a mismatch with b = (1 − qⱼ)/(1 − q_min) > 1. Under
    P(match | past) = r the expected factor is r·a + (1 − r)·b = 1 + (r − q_min)·(a − b), since it
    is 1 at r = q_min; and a − b < 0, so it is at most 1 for every r ≥ q_min. Each product is
    therefore a non-negative supermartingale starting at 1, so is their average, and by Ville's
    inequality it *ever* reaches 1000 with a chance of at most 1/1000.

    Args:
        classes: K, 2 … 2³².

    Returns:
        The rule "below-20/v1".

    Raises:
        OptionError: the number of classes is out of range.
    """
    _check_classes(classes)
    # qⱼ = (2·20 + (K − 1)·j)/(2·20·K), so a = 2·20·K·qⱼ/(20(K + 1)) and b = (2·20 − j)/20.
    return _mixture(
        ABSENT_PRIOR,
        [(2 * _POINTS + (classes - 1) * j) / (_POINTS * (classes + 1)) for j in range(_POINTS)],
        [(2 * _POINTS - j) / _POINTS for j in range(_POINTS)],
    )


def _check_classes(classes: int) -> None:
    if not 2 <= classes <= _MOST_CLASSES:
        raise OptionError(f"a match test needs 2 … 2**32 classes, got {classes}")
