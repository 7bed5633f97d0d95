"""Clouds of points: scattered, in keyed cells, and on keyed solids.

Every cloud is moved so that the box around it is centered, and scaled so that the longest side of
that box is one: it lies in the cube from -½ to ½, and so in the unit sphere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modeldeed.anchor.trigger_rule import PointInput
from modeldeed.triggers.families.draws import Draws
from modeldeed.triggers.families.registry import Array, register

__all__ = ["HALF", "cells", "clusters", "scatter", "solids"]

HALF = 2**14
_CELLS = 4
_CLUSTERS = 8
_SOLIDS = 6


@register("scatter/v1", PointInput)
def scatter(draws: Draws, form: PointInput) -> Array:
    """Every coordinate of every point keyed."""
    return _centered(draws.below(2**16, form.points, 3))


@register("cells/v1", PointInput)
def cells(draws: Draws, form: PointInput) -> Array:
    """Points in a keyed eighth of the cells of a 4 x 4 x 4 lattice."""
    chosen = draws.below(_CELLS, _CELLS**3 // 8, 3)
    at = draws.below(_CELLS**3 // 8, form.points)
    corner = np.take_along_axis(chosen, at[:, :, None], axis=1)
    return _centered((corner << 14) + draws.below(2**14, form.points, 3))


@register("clusters/v1", PointInput)
def clusters(draws: Draws, form: PointInput) -> Array:
    """Eight keyed heaps of keyed width along each axis."""
    center = draws.below(2**16, _CLUSTERS, 3)
    width = draws.below(2**13, _CLUSTERS, 3) + 2**9
    at = draws.below(_CLUSTERS, form.points)[:, :, None]
    # The sum of four uniform numbers is round enough for a heap.
    spread = draws.below(2**12, 4, form.points, 3).sum(axis=1) - 2**13
    spread = spread * np.take_along_axis(width, at, axis=1) >> 12
    return _centered(np.take_along_axis(center, at, axis=1) + spread)


@register("solids/v1", PointInput)
def solids(draws: Draws, form: PointInput) -> Array:
    """Points on six keyed boxes and octahedra, as a thing of parts has its surface."""
    center = draws.below(2**16, _SOLIDS, 3)
    size = draws.below(2**14, _SOLIDS, 3) + 2**12
    box = draws.bits(_SOLIDS, 1)
    at = draws.below(_SOLIDS, form.points)[:, :, None]
    on_box, on_octahedron = _on_box(draws, form.points), _on_octahedron(draws, form.points)
    surface = np.where(np.take_along_axis(box, at, axis=1) == 1, on_box, on_octahedron)
    surface = surface * np.take_along_axis(size, at, axis=1) // 2**15
    return _centered(np.take_along_axis(center, at, axis=1) + surface)


def _on_box(draws: Draws, points: int) -> NDArray[np.int64]:
    """Points on the faces of the cube from -2¹⁵ to 2¹⁵, ``(N, P, 3)``."""
    inside = draws.below(2**16, points, 3) - 2**15
    face = draws.below(6, points)[:, :, None]
    flat = (face & 1) * 2**16 - 2**15
    return np.where(face >> 1 == np.arange(3, dtype=np.int64), flat, inside)


def _on_octahedron(draws: Draws, points: int) -> NDArray[np.int64]:
    """Points whose distances along the axes sum to 2¹⁵, ``(N, P, 3)``."""
    # Two keyed cuts split the length in three, uniformly over the face.
    cuts = np.sort(draws.below(2**15, points, 2), axis=2)
    first, second = cuts[:, :, :1], cuts[:, :, 1:]
    parts = np.concatenate([first, second - first, 2**15 - second], axis=2)
    return parts * (2 * draws.bits(points, 3).astype(np.int64) - 1)


def _centered(points: NDArray[np.int64]) -> NDArray[np.int16]:
    """Any coordinates below 2⁴⁵ as a cloud of the right place and size."""
    low, high = points.min(axis=1, keepdims=True), points.max(axis=1, keepdims=True)
    extent = np.maximum((high - low).max(axis=2, keepdims=True), 1)
    # Twice the coordinates, so that the center of the box is a whole number.
    centered: NDArray[np.int64] = (2 * points - low - high) * HALF // extent
    return centered.astype(np.int16)
