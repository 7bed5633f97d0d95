"""Several batches of one claim, taken together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from modeldeed.errors import OptionError

__all__ = ["average_log_e"]


def average_log_e(log_es: Sequence[float], *, planned: int | None = None) -> float:
    """The logarithm of the arithmetic mean of e-values.

    The mean of e-values is an e-value however they depend on each other, because expectations add
    up whatever the dependence: E[(E₁ + … + E_m)/m] = (E[E₁] + … + E[E_m])/m ≤ 1. A product would
    ask for independence, a maximum would not be valid at all. The price of m batches is at most
    log2 m bits: one good batch keeps a share 1/m of its evidence.

    m must be fixed before the first answer. Taking the mean of as many batches as it needed to look
    good is a choice of the best; so batches that were planned but not begun enter as 1.

    Args:
        log_es: ln of the e-value of each batch as it stood when the batch was stopped.
        planned: how many batches there were to be; None means just these.

    Returns:
        ln of the mean.

    Raises:
        OptionError: there are no e-values, one is NaN or +∞, or there are more than planned.

    Example:
        >>> round(math.exp(average_log_e([math.log(7), math.log(3)])), 9)
        5.0
        >>> round(math.exp(average_log_e([math.log(7)], planned=2)), 9)
        4.0
    """
    count = len(log_es) if planned is None else planned
    if not 1 <= max(len(log_es), 1) <= count:
        raise OptionError(
            f"the mean of e-values needs at least one batch and none beyond the planned {count}, "
            f"got {len(log_es)}"
        )
    if not all(value < math.inf for value in log_es):  # false for NaN as well
        raise OptionError(f"an e-value is a number below infinity, got logarithms {list(log_es)}")
    logs = np.array([*log_es, *[0.0] * (count - len(log_es))])
    top = float(logs.max())
    if top == -math.inf:
        return top
    return top + math.log(float(np.exp(logs - top).mean()))
