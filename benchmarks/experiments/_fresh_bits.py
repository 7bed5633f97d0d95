"""Are p-values smaller than uniform? Judged by what they would be under other bits.

A key's bits are read from several suspects, and two suspects that are aligned to one reference may
read alike. So a key's counts of matches depend on each other, and tables for independent p-values
do not hold. But given all readings, the bits themselves are uniform and independent: so the same
statistic under fresh bits, drawn anew for every key and the same for all of its suspects, has the
distribution that it has if the alignment did not look at the bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modeldeed.statistics import randomized_p_values

__all__ = ["fresh_bits_p_value"]


def fresh_bits_p_value(
    matched: NDArray[np.bool_], readable: NDArray[np.bool_], *, resamples: int, seed: int
) -> float:
    """The one-sided Kolmogorov–Smirnov statistic of all counts, ranked among fresh bits.

    Args:
        matched: whether a bit matches, ``(keys, suspects, bits)``.
        readable: whether it can be read, of the same shape; else it is a mismatch under any bits.
        resamples: N, how often bits are drawn.
        seed: of the bits and of the randomized p-values.

    Returns:
        (1 + #{resample ≥ observed}) / (N + 1), exact under the null.

    Example:
        >>> coins = np.random.default_rng(0).random((40, 3, 256)) < 0.5
        >>> fresh_bits_p_value(coins, np.ones_like(coins), resamples=99, seed=1) > 0.01
        True
        >>> more = coins | (np.random.default_rng(1).random(coins.shape) < 0.1)
        >>> fresh_bits_p_value(more, np.ones_like(coins), resamples=99, seed=1)
        0.01
    """
    keys, suspects, bits = matched.shape
    generator = np.random.default_rng(seed)
    # As ±1 and 0: a fresh bit turns a match over or leaves it; nothing makes a silent row speak.
    signs = np.where(readable, np.where(matched, 1.0, -1.0), 0.0).astype(np.float32)
    turned = generator.integers(0, 2, (keys, bits, resamples), np.int8)
    sums = np.empty((keys, suspects, resamples + 1), np.float32)
    sums[..., 0] = signs.sum(-1)
    for key in range(keys):
        sums[key, :, 1:] = signs[key] @ (2 * turned[key] - 1).astype(np.float32)
    counts = ((sums + readable.sum(-1, keepdims=True)) / 2).round().astype(np.int64)
    statistics = [_too_small(counts[..., n].ravel(), bits, seed + n) for n in range(resamples + 1)]
    as_large = sum(value >= statistics[0] for value in statistics[1:])
    return (1 + as_large) / (1 + resamples)


def _too_small(counts: NDArray[np.int64], bits: int, seed: int) -> float:
    """By how much the distribution function of p-values rises above the uniform one."""
    p_values = np.sort(randomized_p_values(counts.tolist(), bits, seed=seed))
    return float((np.arange(1, len(p_values) + 1) / len(p_values) - p_values).max())
