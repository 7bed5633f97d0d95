"""Clouds of points: how many lie where, seen from three sides."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ThreeViews"]

_CELLS = 16
_REACH = 1.125  # half the side of the cube that is looked at, in units of the farthest point
_MOST = 1024
_SIZE = 0.7
_FULL = 256.0  # a cell with that part of all points counts as one
_LEAST = 1e-6


class ThreeViews(nn.Module):
    """The density of a cloud in the cells of a square, from the front, from the side, from above.

    The cloud is moved to its mean and measured by its farthest point. A point counts in up to four
    cells, linearly by its distances from their middles, so the view changes smoothly with it; the
    order of the points does not matter. Of more than 1,024 points every third, fifth, … is taken.

    Shape:
        - Input: ``(N, P, 3)``, any P.
        - Output: ``(N, 3, 16, 16)``.

    Example:
        >>> ThreeViews()(torch.rand(2, 100, 3)).shape
        torch.Size([2, 3, 16, 16])
    """

    middles: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.shape = 3, _CELLS, _CELLS
        middles = torch.arange(_CELLS, dtype=torch.float32)
        self.register_buffer("middles", middles, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the views of clouds."""
        # An odd step: keyed geometry stands at every fourth place, and none may be passed over.
        step = (x.shape[1] - 1) // _MOST + 1
        cloud = x[:, :: step | 1]
        away = cloud - cloud.mean(1, keepdim=True)
        far = away.square().sum(2).amax(1).clamp_min(_LEAST).sqrt()
        at = (away / far[:, None, None] / _REACH + 1) * (_CELLS / 2) - 0.5
        shares = (1 - (at[..., None] - self.middles.to(x.dtype)).abs()).relu()
        across, up, deep = shares.unbind(2)
        seen = [a.transpose(1, 2) @ b for a, b in ((across, up), (deep, up), (across, deep))]
        density = torch.stack(seen, 1) / cloud.shape[1]
        return torch.log1p(density * _FULL) * _SIZE
