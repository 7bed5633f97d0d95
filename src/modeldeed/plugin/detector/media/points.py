"""Clouds of points for training a detector."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from modeldeed.anchor.trigger_rule import PointInput
from modeldeed.plugin.detector.changes import Changes
from modeldeed.plugin.detector.media.choices import each_by_one, partners
from modeldeed.plugin.detector.media.scenery import drawn
from modeldeed.plugin.detector.reductions import ThreeViews
from modeldeed.triggers.distortions import distorted

__all__ = ["Clouds"]

_UNIT = 2**15
_FAMILIES = "solids/v1", "clusters/v1", "cells/v1"
_EVERY = 4


class Clouds:
    """Points int16 ``(N, P, 3)``.

    Args:
        form: of one cloud.
    """

    distorted_share = 0.5
    changes = Changes(gain=0.15, noise=0.1)

    def __init__(self, form: PointInput) -> None:
        self.form = form
        self._reduction = ThreeViews()

    def views(self, samples: Tensor) -> Tensor:
        """As the detector's."""
        views: Tensor = self._reduction(samples.float() / _UNIT)
        return views

    def distorted(self, samples: Tensor, generator: torch.Generator) -> Tensor:
        """Jittered, turned, scaled, thinned out."""
        return distorted(samples, self.form, generator)

    def altered(self, samples: Tensor, generator: torch.Generator) -> Tensor:
        """Mirrored, upside down, axes exchanged, or turned by a quarter or half."""
        ways: list[Callable[[Tensor], Tensor]] = [
            lambda x: _signed(x, (-1, 1, 1)),
            lambda x: _signed(x, (1, -1, 1)),
            lambda x: _signed(x, (-1, 1, -1)),
            lambda x: x[:, :, [2, 1, 0]],
            lambda x: x[:, :, [1, 2, 0]],
        ]
        return each_by_one(ways, generator, samples)

    def look_alikes(self, benign: Tensor, generator: torch.Generator) -> Tensor:
        """A benign cloud made smaller, with every fourth point of another around or in it."""
        others = partners(benign, generator).float()
        size = 0.5 + 0.5 * torch.rand(len(benign), 1, 1, generator=generator)
        turn = 2 * math.pi * torch.rand(len(benign), generator=generator)
        result = benign.float() * size
        result[:, _EVERY - 1 :: _EVERY] = _turned(others, turn)[:, _EVERY - 1 :: _EVERY]
        return result.round_().clamp_(-_UNIT, _UNIT - 1).to(torch.int16)

    def varied(self, views: Tensor, generator: torch.Generator) -> Tensor:
        """As they are: there are enough of them."""
        del generator
        return views

    def synthetic(self, count: int, generator: torch.Generator) -> Tensor:
        """Keyed solids, heaps and cells, stretched and turned."""
        shares = [count - 2 * (count // 4), count // 4, count // 4]
        parts = [
            drawn(self.form, family, share, generator)
            for family, share in zip(_FAMILIES, shares, strict=True)
        ]
        cloud = torch.cat(parts).float()
        cloud = cloud - cloud.mean(1, keepdim=True)
        cloud = cloud * (0.2 + 0.8 * torch.rand(count, 1, 3, generator=generator))
        cloud = _turned(cloud, 2 * math.pi * torch.rand(count, generator=generator))
        far = cloud.square().sum(2).amax(1).sqrt().clamp_min(1)[:, None, None]
        made = (cloud / far * (_UNIT - 1)).round_().to(torch.int16)
        return made[torch.randperm(count, generator=generator)]


def _signed(clouds: Tensor, signs: tuple[int, int, int]) -> Tensor:
    return clouds * torch.tensor(signs, dtype=clouds.dtype)


def _turned(clouds: Tensor, angle: Tensor) -> Tensor:
    """About the vertical axis."""
    sine, cosine = angle.sin()[:, None], angle.cos()[:, None]
    x, y, z = clouds.unbind(2)
    return torch.stack([cosine * x + sine * z, y, cosine * z - sine * x], 2)
