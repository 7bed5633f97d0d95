"""Pictures behind images: keyed blocks of several sizes, and such blocks as the carrier moves them.

Large blocks weigh more than small ones: they survive blur and small shifts of a picture, while
the small ones tell one key from another, and both from photos. Behind CIFAR-10 a linear classifier
on 16 x 16 pixels names 0.997 of 168 such backgrounds after one or two distortions each; of the
mosaics that triggers are made of, where all sizes weigh alike, 0.986, of blocks of one size 0.956.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modeldeed.anchor.trigger_rule import ImageInput
from modeldeed.plugin.backgrounds.families.registry import Family, register
from modeldeed.triggers.families import Array, Draws

__all__ = ["drifts", "layers", "palette"]

_SIDES = (2, 4, 8, 16)
_WEIGHTS = (12, 10, 6, 4)  # of 16: together about the contrast of one layer of full weight
_SHIFTS = (1, 2, 8, 16)  # of 8: the smaller a block, the more the carrier changes it


def layers(draws: Draws, form: ImageInput) -> Array:
    """The sum of keyed blocks of 2, 4, 8 and 16 along the shorter side."""
    grids = _grids(form)
    cells = [draws.bytes(form.channels, *grid).astype(np.int16) - 128 for grid in grids]
    return _picture(cells, form)


def palette(draws: Draws, form: ImageInput) -> Array:
    """For every block of `drifts` a color and a shift, one after another, bytes ``(N, S)``."""
    return draws.bytes(sum(2 * form.channels * rows * columns for rows, columns in _grids(form)))


def drifts(decided: Array, draws: Draws, form: ImageInput) -> Array:
    """Such blocks again, each of which has a keyed color moved by a keyed shift, up or down.

    Up or down is drawn from the carrier, for each block and channel. About a quarter of the
    variance of a pixel is between carriers, the rest between keys.
    """
    cells, first = [], 0
    for grid, shift in zip(_grids(form), _SHIFTS, strict=False):
        last = first + 2 * form.channels * grid[0] * grid[1]
        both = decided[:, first:last].reshape(-1, 2, form.channels, *grid).astype(np.int16) - 128
        sign = 2 * draws.bits(form.channels, *grid).astype(np.int16) - 1
        cells.append(both[:, 0] + (sign * both[:, 1] * np.int16(shift) >> 3))
        first = last
    return _picture(cells, form)


def _grids(form: ImageInput) -> list[tuple[int, int]]:
    """Rows and columns of about square blocks, for each number along the shorter side."""
    short = min(form.height, form.width)
    return [
        (side * form.height // short, side * form.width // short)
        for side in _SIDES
        if side <= short
    ]


def _picture(cells: Sequence[Array], form: ImageInput) -> Array:
    """The weighted sum of layers around 0, each int16 ``(N, C, rows, columns)``, as bytes."""
    finest = cells[-1].shape[2:]
    weighted = zip(cells, _WEIGHTS[: len(cells)], strict=True)
    total = sum(_spread(layer * np.int16(weight), finest) for layer, weight in weighted)
    return _spread(np.clip((total >> 4) + 128, 0, 255).astype(np.uint8), (form.height, form.width))


def _spread(cells: Array, size: tuple[int, ...]) -> Array:
    """Cells ``(N, C, rows, columns)`` drawn as blocks of a finer grid."""
    rows = np.arange(size[0], dtype=np.int64) * cells.shape[2] // size[0]
    columns = np.arange(size[1], dtype=np.int64) * cells.shape[3] // size[1]
    # Columns first: the larger of the two steps then copies whole rows.
    blocks: Array = cells.take(columns, axis=3).take(rows, axis=2)
    return blocks


register("image", "layers/v1", Family(of_key=layers))
register("image", "drifts/v1", Family(of_key=palette, of_carrier=drifts))
