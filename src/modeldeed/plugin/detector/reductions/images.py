"""Images: the mean color of the cells of a small square."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed.anchor.trigger_rule import ImageInput

__all__ = ["SIDE", "AreaAverage", "overlaps"]

SIDE = 16
_MOST = 1024  # values of a view, where an image has many channels
_SIZE = 4.0  # values in [0, 1] become values in [-2, 2]


class AreaAverage(nn.Module):
    """The mean over every cell of a square, of any size of image.

    Images of the size it is made for are averaged by one pooling; where the cells do not divide
    it, by two fixed matrices more, which export as what they are. Up to one pixel of every cell's
    breadth is left out there at the borders.

    Args:
        form: of the images.
        side: rows and columns of the view, at most; never more than the image has.

    Shape:
        - Input: ``(N, C, H, W)`` in [0, 1]; other H and W than the form's are averaged as well.
        - Output: ``(N, C, rows, columns)`` in [-2, 2].

    Example:
        >>> reduction = AreaAverage(ImageInput(channels=3, height=96, width=64))
        >>> reduction(torch.full((1, 3, 96, 64), 0.5)).abs().sum().item()
        0.0
    """

    rows: Tensor | None
    columns: Tensor | None
    mean: Tensor | None
    std: Tensor | None

    def __init__(self, form: ImageInput, side: int | None = None) -> None:
        super().__init__()
        side = side or max(2, min(SIDE, math.isqrt(_MOST // form.channels)))
        size = form.height, form.width
        cells = min(side, form.height), min(side, form.width)
        self.size = size
        self.shape = form.channels, *cells
        self.steps = size[0] // cells[0], size[1] // cells[1]
        for axis, name in enumerate(("rows", "columns")):
            pooled = size[axis] // self.steps[axis]
            exact = pooled == cells[axis]
            matrix = None if exact else overlaps(torch.zeros(1), torch.ones(1), cells[axis], pooled)
            self.register_buffer(name, None if exact else matrix[0], persistent=False)  # type: ignore[index]
        self.register_buffer("mean", None, persistent=False)
        self.register_buffer("std", None, persistent=False)

    def take_standardized(self, mean: Tensor, std: Tensor) -> None:
        """Take standardized images from now on: undo it on the view, not on every pixel.

        An average of what was scaled is the scaled average, and there are up to 200 times fewer.

        Args:
            mean: that was subtracted from each channel, ``(C, 1, 1)``.
            std: that it was divided by, ``(C, 1, 1)``.
        """
        self.mean, self.std = mean, std

    def forward(self, x: Tensor) -> Tensor:
        """Return the views of images."""
        means = self._averages(x)
        if self.mean is not None and self.std is not None:
            means = means * self.std.to(x.dtype) + self.mean.to(x.dtype)
        return (means - 0.5) * _SIZE

    def _averages(self, x: Tensor) -> Tensor:
        if tuple(x.shape[2:]) != self.size:
            return F.adaptive_avg_pool2d(x, self.shape[1:])
        means = F.avg_pool2d(self._without_rest(x), self.steps) if max(self.steps) > 1 else x
        if self.rows is not None:
            means = self.rows.to(x.dtype) @ means
        if self.columns is not None:
            means = means @ self.columns.to(x.dtype).T
        return means

    def _without_rest(self, x: Tensor) -> Tensor:
        """The middle part, which whole steps cover."""
        for axis in (0, 1):
            kept = self.size[axis] // self.steps[axis] * self.steps[axis]
            x = x.narrow(2 + axis, (self.size[axis] - kept) // 2, kept)
        return x


def overlaps(start: Tensor, width: Tensor, cells: int, size: int) -> Tensor:
    """Matrices that average the pixels of a line over equal cells of a part of it.

    Args:
        start: where the part begins, as a part of the line, ``(N,)``; may lie outside.
        width: its width, likewise.
        cells: in the part.
        size: pixels of the line; those at its ends reach on for ever.

    Returns:
        ``(N, cells, size)``; every row sums to 1.

    Example:
        >>> overlaps(torch.zeros(1), torch.ones(1), 2, 4)[0].tolist()
        [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    steps = torch.arange(cells + 1, dtype=torch.float32) / cells
    edges = (start[:, None] + width[:, None] * steps) * size
    left = torch.arange(size, dtype=torch.float32)
    right = left + 1
    left[0], right[-1] = -size, 2 * size
    upper = torch.minimum(edges[:, 1:, None], right)
    lower = torch.maximum(edges[:, :-1, None], left)
    shared = (upper - lower).clamp_min_(0)
    return shared / shared.sum(2, keepdim=True)
