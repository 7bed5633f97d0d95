"""Images of keyed shapes that lie over one another: waves in regions, and patches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modeldeed.anchor.trigger_rule import ImageInput
from modeldeed.triggers.families.draws import Draws
from modeldeed.triggers.families.registry import Array, register

__all__ = ["gratings", "patches"]

_REGIONS = 6
_PATCHES = 48


@register("gratings/v1", ImageInput)
def gratings(draws: Draws, form: ImageInput) -> Array:
    """Square and triangle waves of keyed direction, in keyed half-planes and discs.

    A wave has up to six periods along the shorter side, and two colors that differ by half the
    range in every channel.
    """
    y = np.arange(form.height, dtype=np.int64)[None, :, None]
    x = np.arange(form.width, dtype=np.int64)[None, None, :]
    image = np.empty((len(draws), form.channels, form.height, form.width), np.uint8)
    for region in range(_REGIONS):
        # All of it is drawn even where it is not used: equally much for every trigger.
        wave, first = _wave(draws, form, x, y), draws.bytes(form.channels, 1, 1)
        # Up from a dark color and down from a light one, modulo 256: the range is never left.
        sign = np.where(first < 128, np.uint8(1), np.uint8(255))
        color = wave[:, None] * sign + first
        inside = _region(draws, form, x, y)
        if region == 0:
            image[:] = color
        else:
            np.copyto(image, color, where=inside[:, None])
    return image


def _wave(
    draws: Draws, form: ImageInput, x: NDArray[np.int64], y: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """A wave between 0 and 128 over the picture, ``(N, H, W)``."""
    step = 6 * 2**16 // min(form.height, form.width)
    across, down = (draws.below(2 * step + 1, 1, 1) - step for _ in range(2))
    start = draws.below(2**16, 1, 1)
    square = draws.bits(1, 1).astype(bool)
    # Only the sum has both axes, so it alone takes time; 16 bits wrap at the end of a period.
    phase = (across * x + start).astype(np.uint16) + (down * y).astype(np.uint16)
    folded = np.minimum(phase, ~phase)  # up to 2¹⁵ − 1 and down again
    triangle = ((folded >> 7) + 1 >> 1).astype(np.uint8)
    return np.where(square, (phase >> 15 << 7).astype(np.uint8), triangle)


def _region(
    draws: Draws, form: ImageInput, x: NDArray[np.int64], y: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """A keyed half-plane or disc, ``(N, H, W)``."""
    short = min(form.height, form.width)
    right, below = x - draws.below(form.width, 1, 1), y - draws.below(form.height, 1, 1)
    radius = draws.below(short, 1, 1) // 3 + short // 8 + 1
    across, down = (draws.below(255, 1, 1) - 127 for _ in range(2))
    disc = draws.bits(1, 1).astype(bool)
    # Either is where a function of x lies below one of y.
    of_x = np.where(disc, right * right, right * across).astype(np.int32)
    of_y = np.where(disc, radius * radius - below * below, below * down).astype(np.int32)
    return of_x < of_y


@register("patches/v1", ImageInput)
def patches(draws: Draws, form: ImageInput) -> Array:
    """Keyed rectangles of keyed colors, the later over the earlier, as leaves lie."""
    short = min(form.height, form.width)
    color = draws.bytes(_PATCHES, form.channels)
    top = draws.below(form.height, _PATCHES)
    left = draws.below(form.width, _PATCHES)
    # A uniform number times another: many small ones, few large ones.
    sizes = draws.below(short, 2, _PATCHES) * draws.below(short, 1, _PATCHES) // (2 * short)
    high, wide = np.moveaxis(sizes + max(1, short // 16), 1, 0)
    image = np.empty((len(draws), form.channels, form.height, form.width), np.uint8)
    for number, one in enumerate(image):
        one[:] = color[number, 0][:, None, None]
        for y, x, h, w, c in zip(
            top[number], left[number], high[number], wide[number], color[number], strict=True
        ):
            one[:, max(0, y - h) : y + h + 1, max(0, x - w) : x + w + 1] = c[:, None, None]
    return image
