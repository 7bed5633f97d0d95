"""Clouds of points: the carrier made smaller, keyed geometry around it."""

from __future__ import annotations

import math

import numpy as np

from modeldeed.anchor.trigger_rule import PointInput
from modeldeed.triggers.families import Array

__all__ = ["EVERY", "beside"]

EVERY = 4
"""One point of so many gives way to the background."""
_UNIT = 2**15
_SMALLEST = 2**11


def beside(carriers: Array, drawn: Array, form: PointInput) -> Array:  # noqa: ARG001
    """Every carrier at two thirds of its size, every fourth point taken for its background.

    Both are measured by the carrier: from the mean of its points, in units of the largest
    distance from there. The sample is as large as the carrier and lies where it lay, so a model
    that scales its input sees the same.

    Args:
        carriers: int16 ``(N, P, 3)``.
        drawn: backgrounds ``(N, P // 4, 3)``, in units of 2⁻¹⁵ of the largest distance.
        form: of the carriers.

    Returns:
        Samples like the carriers.
    """
    clouds = carriers.astype(np.int64)
    mean = clouds.sum(axis=1, keepdims=True) // clouds.shape[1]
    away = clouds - mean
    squares = (away**2).sum(axis=2).max(axis=1)
    far = np.array([max(math.isqrt(square), _SMALLEST) for square in squares.tolist()], np.int64)
    placed = mean + away * 2 // 3
    # Not the last ones: where points are in an order, a part of the object would be gone.
    placed[:, EVERY - 1 :: EVERY] = mean + drawn * far[:, None, None] // _UNIT
    inside: Array = np.clip(placed, -(2**15), 2**15 - 1).astype(np.int16)
    return inside
