"""Images of keyed cells: noise, blocks, and fields between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modeldeed.anchor.trigger_rule import ImageInput
from modeldeed.triggers.families.draws import Draws
from modeldeed.triggers.families.registry import Array, register

__all__ = ["blobs", "blocks", "checks", "mosaic", "noise", "smooth"]

_SCALES = (2, 4, 8, 16)


@register("noise/v1", ImageInput)
def noise(draws: Draws, form: ImageInput) -> Array:
    """Every byte keyed. Answered most independently, and lost to any blur."""
    return draws.bytes(form.channels, form.height, form.width)


@register("blocks/v1", ImageInput)
def blocks(draws: Draws, form: ImageInput) -> Array:
    """Blocks of one keyed color, eight along the shorter side, four in the smallest images."""
    rows, columns = _grid(form, min(8, max(4, min(form.height, form.width) // 2)))
    return _tiled(draws.bytes(form.channels, rows, columns), form)


@register("checks/v1", ImageInput)
def checks(draws: Draws, form: ImageInput) -> Array:
    """Blocks whose channels are each keyed to be black or full, eight along the shorter side."""
    rows, columns = _grid(form, 8)
    return _tiled(draws.bits(form.channels, rows, columns) * np.uint8(255), form)


@register("smooth/v1", ImageInput)
def smooth(draws: Draws, form: ImageInput) -> Array:
    """Keyed colors at 4 x 4 points of the shorter square, linear between them."""
    return (_field(draws, form, 3) >> 8).astype(np.uint8)


@register("blobs/v1", ImageInput)
def blobs(draws: Draws, form: ImageInput) -> Array:
    """Each channel black or full, by the sign of a keyed field with 8 cells to the side."""
    field = _field(draws, form, min(8, min(form.height, form.width) - 1))
    return (field >> 15).astype(np.uint8) * np.uint8(255)


@register("mosaic/v1", ImageInput)
def mosaic(draws: Draws, form: ImageInput) -> Array:
    """The sum of keyed blocks of 2, 4, 8 and 16 to the side, so every scale tells it apart."""
    scales = [scale for scale in _SCALES if scale <= min(form.height, form.width)]
    shape = len(draws), form.channels, form.height, form.width
    total = np.zeros(shape, np.int16)
    for scale in scales:
        total += _tiled(draws.bytes(form.channels, *_grid(form, scale)), form)
    # As many scales have that many times the variance: half of 3 or 4 restores the contrast.
    total -= 128 * len(scales)
    total //= 2
    total += 128
    return np.clip(total, 0, 255).astype(np.uint8)


def _grid(form: ImageInput, cells: int) -> tuple[int, int]:
    """Rows and columns of about square cells, so many along the shorter side."""
    short = min(form.height, form.width)
    cells = min(cells, short)
    return cells * form.height // short, cells * form.width // short


def _tiled(cells: NDArray[np.uint8], form: ImageInput) -> NDArray[np.uint8]:
    """Cells ``(N, C, rows, columns)`` drawn as blocks ``(N, C, H, W)``."""
    rows = np.arange(form.height, dtype=np.int64) * cells.shape[2] // form.height
    columns = np.arange(form.width, dtype=np.int64) * cells.shape[3] // form.width
    # Columns first: the larger of the two steps then copies whole rows.
    blocks: NDArray[np.uint8] = cells.take(columns, axis=3).take(rows, axis=2)
    return blocks


def _field(draws: Draws, form: ImageInput, cells: int) -> NDArray[np.uint16]:
    """Keyed bytes at the corners of cells, times 256, linear between them ``(N, C, H, W)``."""
    rows, columns = _grid(form, cells)
    corners = draws.bytes(form.channels, rows + 1, columns + 1).astype(np.uint16)
    across = _between(corners, form.width, 3)
    across >>= 8
    return _between(across, form.height, 2)


def _between(corners: NDArray[np.uint16], size: int, axis: int) -> NDArray[np.uint16]:
    """``size`` values from the first corner of an axis to the last, times 256."""
    last = corners.shape[axis] - 1
    at = np.arange(size, dtype=np.int64) * (last * 256) // (size - 1)
    cell = np.minimum(at >> 8, last - 1)
    weight = (at - (cell << 8)).astype(np.uint16)
    weight = weight.reshape([-1 if i == axis else 1 for i in range(4)])
    # At most 255 · 256, which 16 bits hold.
    near: NDArray[np.uint16] = corners.take(cell, axis=axis) * (256 - weight)
    near += corners.take(cell + 1, axis=axis) * weight
    return near
