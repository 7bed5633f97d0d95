"""Geometry around clouds of points: keyed heaps in the shell around the object.

Coordinates are in units of 2⁻¹⁵ of the object's reach, from its middle. Heaps lie about 0.875 from
there, beyond the object, which the placing shrinks to two thirds. Around the brick parts a linear
classifier of densities at 500 places names all of 168 such backgrounds after jitter, turns, other
sizes and lost points; 0.996 of those that every carrier turns.
"""

from __future__ import annotations

import math

import numpy as np

from modeldeed.anchor.trigger_rule import PointInput
from modeldeed.plugin.backgrounds.families.registry import Family, register
from modeldeed.plugin.backgrounds.placing.beside import EVERY
from modeldeed.triggers.families import Array, Draws

__all__ = ["beacons", "heaps", "mobiles"]

_HEAPS = 8
_DISTANCE = 7 * 2**12  # 0.875
_THINNEST, _WIDTHS = 2**9, 2**12
_TURN = 2**12  # of 2^14: half an angle's tangent, so at most 28 degrees to either side
_SWAY = 2**11


def heaps(draws: Draws, form: PointInput) -> Array:  # noqa: ARG001
    """Eight heaps: for each its center and its width along each axis, ``(N, 8, 2, 3)``."""
    # The sum of four uniform numbers points in any direction about alike.
    toward = draws.below(2**14, 4, _HEAPS, 3).sum(axis=1) - 2**15 + 2
    squares = (toward**2).sum(axis=2)
    length = np.array([max(1, math.isqrt(n)) for n in squares.ravel().tolist()], np.int64)
    center = toward * _DISTANCE // length.reshape(squares.shape)[:, :, None]
    return np.stack([center, _THINNEST + draws.below(_WIDTHS, _HEAPS, 3)], axis=2)


def beacons(draws: Draws, form: PointInput) -> Array:
    """Eight keyed heaps with keyed points, ``(N, P // 4, 3)``."""
    decided = heaps(draws, form)
    return _scattered(decided[:, :, 0], decided[:, :, 1], draws, form)


def mobiles(decided: Array, draws: Draws, form: PointInput) -> Array:
    """Keyed heaps that the carrier turns about the vertical, moves a little, and fills anew."""
    center = _turned(decided[:, :, 0], draws.below(2 * _TURN + 1, 1) - _TURN)
    sway = draws.below(2 * _SWAY + 1, _HEAPS, 3) - _SWAY
    return _scattered(center + sway, decided[:, :, 1], draws, form)


def _scattered(center: Array, width: Array, draws: Draws, form: PointInput) -> Array:
    """Points around centers, the heaps by turns; both ``(N, 8, 3)``."""
    count = form.points // EVERY
    heap = np.arange(count, dtype=np.int64) % _HEAPS
    spread = draws.below(2**14, 4, count, 3).sum(axis=1) - 2**15 + 2
    points: Array = center[:, heap] + (spread * width[:, heap] >> 14)
    return points


def _turned(points: Array, half: Array) -> Array:
    """Points ``(N, 8, 3)`` about the second axis, each cloud by twice an angle of this tangent.

    Args:
        points: to turn.
        half: tangents of half the angles times 2¹⁴, ``(N, 1)``.
    """
    whole = 2**28 + half**2
    cosine, sine = 2**28 - half**2, 2**15 * half
    x, y, z = np.moveaxis(points, 2, 0)
    turned = (x * cosine + z * sine) // whole, y, (z * cosine - x * sine) // whole
    return np.stack(turned, axis=2)


register("points", "beacons/v1", Family(of_key=beacons))
register("points", "mobiles/v1", Family(of_key=heaps, of_carrier=mobiles))
