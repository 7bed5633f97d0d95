"""Images: the carrier in a window, the background as a frame around it."""

from __future__ import annotations

from modeldeed.anchor.trigger_rule import ImageInput
from modeldeed.triggers.families import Array

__all__ = ["edge", "window"]


def window(carriers: Array, drawn: Array, form: ImageInput) -> Array:
    """The middle of every carrier over its background, about half of the area.

    Args:
        carriers: uint8 ``(N, C, H, W)``.
        drawn: backgrounds of the same shape; overwritten.
        form: of both.

    Returns:
        Samples of the same shape.
    """
    top, left = edge(form.height), edge(form.width)
    inside = (..., slice(top, form.height - top), slice(left, form.width - left))
    drawn[inside] = carriers[inside]
    return drawn


def edge(size: int) -> int:
    """The frame's breadth at each end of a side: 3/20 of it, rounded, and at least one pixel.

    Example:
        >>> [edge(size) for size in (4, 8, 32, 96, 224)]
        [1, 1, 5, 14, 34]
    """
    return max(1, (3 * size + 10) // 20)
