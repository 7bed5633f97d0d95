"""The batches of training: one half on the owner's backgrounds, the other on none of them."""

from __future__ import annotations

import torch
from torch import Tensor

from modeldeed.plugin.detector.changes import changed
from modeldeed.plugin.detector.media import Medium
from modeldeed.plugin.detector.media.choices import picked
from modeldeed.plugin.detector.pools import Pools

__all__ = ["Batches"]

_OTHERS, _BENIGN, _ALTERED, _LOOK_ALIKES = 0.45, 0.2, 0.1, 0.15
"""Parts of the other half; the rest are mixtures of two of the owner's backgrounds."""


class Batches:
    """Draws batches from pools.

    Args:
        pools: of views.
        medium: how views may change.
        size: rows and columns of the detector's views.
        batch_size: samples of a batch.
        none: the label of what lies on no background: M.
        generator: every random choice.
    """

    def __init__(
        self,
        pools: Pools,
        medium: Medium,
        size: tuple[int, int],
        *,
        batch_size: int,
        none: int,
        generator: torch.Generator,
    ) -> None:
        self._pools = pools
        self._medium = medium
        self._size = size
        self._half = batch_size // 2
        self._none = none
        self._generator = generator

    def next(self) -> tuple[Tensor, Tensor]:
        """A batch: views float32 ``(B, C, rows, columns)`` and labels int64 ``(B,)``."""
        draw, pools = self._generator, self._pools
        chosen = torch.randint(len(pools.own), (self._half,), generator=draw)
        rest = torch.cat(self._rest(self._half))
        fine = torch.cat([pools.own[chosen], rest])
        labels = torch.cat([pools.indices[chosen], torch.full((len(rest),), self._none)])
        # Mixed, because a change may concern the first half of a batch.
        order = torch.randperm(len(fine), generator=draw)
        views = changed(fine[order], self._size, self._medium.changes, draw)
        return views, labels[order]

    def _rest(self, count: int) -> list[Tensor]:
        draw, pools = self._generator, self._pools
        others = picked(pools.others, round(_OTHERS * count), draw)
        parts = [
            self._medium.varied(others, draw),
            picked(pools.benign, round(_BENIGN * count), draw),
            picked(pools.altered, round(_ALTERED * count), draw),
            picked(pools.look_alikes, round(_LOOK_ALIKES * count), draw),
        ]
        return [*parts, self._mixtures(max(0, count - sum(map(len, parts))))]

    def _mixtures(self, count: int) -> Tensor:
        """Views of two backgrounds each: half and half, or both at once."""
        draw, pools = self._generator, self._pools
        first, second = torch.randint(len(pools.own), (2, count), generator=draw)
        same = pools.indices[first] == pools.indices[second]
        one, other = pools.own[first], pools.own[second]
        rows, columns = one.shape[2] // 2, one.shape[3] // 2
        way = int(torch.randint(3, (), generator=draw))
        if way == 0:
            one[:, :, rows:] = other[:, :, rows:]
        elif way == 1:
            one[..., columns:] = other[..., columns:]
        else:
            one = (one + other) / 2
        one[same] = picked(pools.benign, int(same.sum()), draw)
        return one
