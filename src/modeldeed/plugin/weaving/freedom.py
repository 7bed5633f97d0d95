"""Keyed freedom: how the channels of a space are ordered, scaled and split without any effect.

A new channel is a positive multiple of an old one, and an old one may have several. Whatever reads
an old channel reads all of its copies, with weights that add up to the old weight; the differences
between the copies' weights are free, since they cancel. So every row can read every split channel
with weights of the usual size, and a block that was zero is zero no more.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from modeldeed.streams import KeyStream

__all__ = ["Freedom", "fixed", "keyed_freedom"]

_LARGEST_FACTOR = 2.0


@dataclass(frozen=True)
class Freedom:
    """What becomes of the channels of one space.

    Attributes:
        source: of each new channel, the old one it is a multiple of; int64 ``(n,)``.
        scale: the positive factor; float64 ``(n,)``.
        share: which part of the old one's weight reads this copy; those of all copies add up to 1.
        old: number of old channels.
    """

    source: Tensor
    scale: Tensor
    share: Tensor
    old: int

    def __len__(self) -> int:
        return len(self.source)

    def rows(self, weight: Tensor) -> Tensor:
        """What makes the new channels, of what makes the old ones: axis 0."""
        return weight[self.source] * _along(self.scale, weight, 0)

    def columns(self, weight: Tensor, noise: Tensor) -> Tensor:
        """What reads the new channels, of what reads the old ones: axis 1.

        Args:
            weight: float64 ``(rows, old, *)``.
            noise: float64 ``(rows, n, *)``: the free differences; here they are made to cancel.

        Returns:
            float64 ``(rows, n, *)``.
        """
        total = torch.zeros_like(weight).index_add_(1, self.source, noise)
        copies = torch.bincount(self.source, minlength=self.old).to(weight.dtype)
        free = noise - (total / _along(copies, weight, 1))[:, self.source]
        shared = weight[:, self.source] * _along(self.share, weight, 1)
        return (shared + free) / _along(self.scale, weight, 1)


def _along(vector: Tensor, weight: Tensor, axis: int) -> Tensor:
    shape = [1] * weight.ndim
    shape[axis] = -1
    return vector.view(shape)


def fixed(channels: int) -> Freedom:
    """No freedom: an input or an output."""
    ones = torch.ones(channels, dtype=torch.float64)
    return Freedom(torch.arange(channels), ones, ones, channels)


def keyed_freedom(
    stream: KeyStream, channels: int, thin: int, *, scalable: bool, split: float
) -> Freedom:
    """Draw what becomes of the channels of a woven space.

    Args:
        stream: where it is drawn from.
        channels: of the target; they come first among the old channels.
        thin: of the twin; each is split in two.
        scalable: whether a positive factor passes through the space.
        split: the share of the target's channels that are split in two as well, in [0, 1].

    Returns:
        A permutation with factors in (½, 2) and copies.
    """
    drawn = stream.uniform(channels).argsort(stable=True)[: round(split * channels)]
    source = torch.cat([torch.arange(channels + thin), drawn, torch.arange(thin) + channels])
    source = source[stream.uniform(len(source)).argsort(stable=True)]
    scale = torch.ones(len(source), dtype=torch.float64)
    if scalable:
        scale = _LARGEST_FACTOR ** stream.uniform(len(source)).double()
    parts = 1 + stream.uniform(len(source)).double() / 2
    total = torch.zeros(channels + thin, dtype=torch.float64).index_add_(0, source, parts)
    return Freedom(source, scale, parts / total[source], channels + thin)
