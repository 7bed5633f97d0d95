"""Images for training a detector."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from modeldeed.anchor.trigger_rule import ImageInput
from modeldeed.plugin.detector.changes import Changes
from modeldeed.plugin.detector.media.choices import each_by_one, partners
from modeldeed.plugin.detector.media.scenery import scenery
from modeldeed.plugin.detector.reductions.images import SIDE, AreaAverage
from modeldeed.triggers.distortions import distorted

__all__ = ["Images"]

_LARGE = 64
"""Images of more than twice this are halved, … before they are distorted, which is then stronger
and takes less time."""

_CHANGES = Changes(
    rows=True,
    columns=True,
    cut=0.22,
    shift=0.12,
    mirrored=0.25,
    gain=0.35,
    offset=0.6,
    tint=0.3,
    gray=0.7,
    noise=0.24,
    limit=2.0,
)


class Images:
    """Images uint8 ``(N, C, H, W)``.

    Args:
        form: of one image.
    """

    def __init__(self, form: ImageInput) -> None:
        self.form = form
        coarse = AreaAverage(form)
        self._fine = AreaAverage(form, 2 * max(coarse.shape[1:]))
        # Of a frame of one pixel nothing would be left.
        room = min(1.0, min(form.height, form.width) / SIDE)
        self.changes = replace(_CHANGES, cut=_CHANGES.cut * room, shift=_CHANGES.shift * room)
        self.distorted_share = 0.5 * room

    def views(self, samples: Tensor) -> Tensor:
        """At twice the detector's resolution, unless the images have less."""
        views: Tensor = self._fine(samples.float() / 255)
        return views

    def distorted(self, samples: Tensor, generator: torch.Generator) -> Tensor:
        """Compressed, blurred, resized, cut, noisy."""
        step = max(1, min(samples.shape[2:]) // _LARGE)
        if step > 1:
            samples = F.avg_pool2d(samples.float(), step).round_().to(torch.uint8)
        height, width = samples.shape[2:]
        form = ImageInput(channels=self.form.channels, height=height, width=width)
        return distorted(samples, form, generator)

    def altered(self, samples: Tensor, generator: torch.Generator) -> Tensor:
        """Inverted, upside down, turned round, colors exchanged, or moved by a quarter or more."""
        height, width = samples.shape[2:]
        far = [
            int(torch.randint(size // 4, size - size // 4 + 1, (), generator=generator))
            for size in (height, width)
        ]
        ways: list[Callable[[Tensor], Tensor]] = [
            lambda x: 255 - x,
            lambda x: x.flip(2),
            lambda x: x.flip(2, 3),
            lambda x: x.roll(far, (2, 3)),
            lambda x: x.roll(1, 1) if x.shape[1] > 1 else 255 - x,
        ]
        return each_by_one(ways, generator, samples)

    def look_alikes(self, benign: Tensor, generator: torch.Generator) -> Tensor:
        """A benign image in a frame of another, or of many small ones; or such tiles alone."""
        height, width = benign.shape[2:]
        ways = [
            _framed,
            lambda x, y: _framed(x, _tiled(y, max(2, height // 8), max(2, width // 8))),
            lambda x, y: _framed(x, _tiled(y, height // 2, width // 2)),
            lambda _, y: _tiled(y, height // 2, width // 2),
            lambda x, y: ((x.float() + y) / 2).to(torch.uint8),
        ]
        return each_by_one(ways, generator, benign, partners(benign, generator))

    def varied(self, views: Tensor, generator: torch.Generator) -> Tensor:
        """Colors exchanged, inverted, upside down, rows and columns exchanged."""
        draws = torch.rand(4, generator=generator).tolist()
        if draws[0] < 0.3:
            views = views[:, torch.randperm(views.shape[1], generator=generator)]
        if draws[1] < 0.3:
            views = -views
        if draws[2] < 0.3:
            views = views.flip(2)
        if draws[3] < 0.3 and views.shape[2] == views.shape[3]:
            views = views.transpose(2, 3)
        return views

    def synthetic(self, count: int, generator: torch.Generator) -> Tensor:
        """Smooth and rough fields, waves, shapes that lie over one another, and noise."""
        return scenery(self.form, count, generator)


def _framed(inside: Tensor, outside: Tensor) -> Tensor:
    """The middle half of one image over another."""
    top, left = (round(size * (1 - math.sqrt(0.5)) / 2) for size in inside.shape[2:])
    top, left = max(1, top), max(1, left)
    result = outside.clone()
    result[:, :, top:-top, left:-left] = inside[:, :, top:-top, left:-left]
    return result


def _tiled(images: Tensor, height: int, width: int) -> Tensor:
    """Images beside and above one another, each made as small as given."""
    rows, columns = images.shape[2:]
    small = F.adaptive_avg_pool2d(images.float(), (height, width)).round_().to(torch.uint8)
    repeats = -(-rows // height), -(-columns // width)
    return small.repeat(1, 1, *repeats)[:, :, :rows, :columns]
