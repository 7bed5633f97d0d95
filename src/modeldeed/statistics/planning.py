"""How many triggers a black-box mark needs before anybody is asked."""

from __future__ import annotations

import math

from modeldeed.errors import OptionError
from modeldeed.statistics.budget import BLACK_BOX, Budget

__all__ = ["information_limit", "triggers_per_batch"]

_LEAST_TRIGGERS = 64


def information_limit(classes: int, budget: Budget = BLACK_BOX) -> float:
    """The queries that no test can undercut: log(2^g/α) / log K, all answers matching.

    K^n label sequences are equally likely, so a perfect transcript of n answers has a chance of
    K^−n under the null, and no valid e-value of it can be larger than K^n.

    Args:
        classes: K, at least 2.
        budget: what must be paid.

    Returns:
        A positive number of queries; the tests need the next whole number or a little more.

    Raises:
        OptionError: there are fewer than two classes.

    Example:
        >>> round(information_limit(10), 2), round(information_limit(2), 2)
        (25.29, 84.0)
    """
    if classes < 2:
        raise OptionError(f"labels carry information from 2 classes on, got {classes}")
    return budget.e_threshold_log2 / math.log2(classes)


def triggers_per_batch(classes: int, budget: Budget = BLACK_BOX) -> int:
    """max(64, 2·⌈log2(2^g/α)/log2 K⌉): twice what a perfect suspect would need, or more.

    Args:
        classes: K, at least 2.
        budget: what must be paid.

    Returns:
        The planned number of triggers of one batch.

    Raises:
        OptionError: there are fewer than two classes.

    Example:
        >>> triggers_per_batch(10), triggers_per_batch(2)
        (64, 168)
    """
    return max(_LEAST_TRIGGERS, 2 * math.ceil(information_limit(classes, budget)))
