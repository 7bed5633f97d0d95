"""Sound for training a detector."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from modeldeed.anchor.trigger_rule import AudioInput
from modeldeed.plugin.detector.changes import Changes
from modeldeed.plugin.detector.media.choices import each_by_one, partners
from modeldeed.plugin.detector.media.scenery import drawn
from modeldeed.plugin.detector.reductions import LogBands
from modeldeed.triggers.distortions import distorted

__all__ = ["Sounds"]

_UNIT = 2**15
_FAMILIES = "notes/v1", "chirps/v1", "bands/v1"


class Sounds:
    """Sound int16 ``(N, L)``.

    Args:
        form: of one sound.
    """

    distorted_share = 0.35
    changes = Changes(columns=True, shift=0.02, gain=0.15, noise=0.3)

    def __init__(self, form: AudioInput) -> None:
        self.form = form
        self._reduction = LogBands(form)

    def views(self, samples: Tensor) -> Tensor:
        """As the detector's."""
        views: Tensor = self._reduction(samples.float() / _UNIT)
        return views

    def distorted(self, samples: Tensor, generator: torch.Generator) -> Tensor:
        """Louder or softer, shifted, noisy, dull."""
        return distorted(samples, self.form, generator)

    def altered(self, samples: Tensor, generator: torch.Generator) -> Tensor:
        """Played backwards, faster, slower, or from the middle on."""
        quarter = samples.shape[1] // 4
        ways: list[Callable[[Tensor], Tensor]] = [
            lambda x: x.flip(1),
            lambda x: x.roll(quarter, 1),
            lambda x: x.roll(2 * quarter, 1),
            lambda x: _played(x, 1.25),
            lambda x: _played(x, 0.8),
        ]
        return each_by_one(ways, generator, samples)

    def look_alikes(self, benign: Tensor, generator: torch.Generator) -> Tensor:
        """Benign sound with other benign sound behind it, or with its own echo or reverse."""
        others = partners(benign, generator)
        length = benign.shape[1]
        ways: list[Callable[[Tensor], Tensor]] = [
            lambda x: x,
            lambda x: x.flip(1),
            lambda x: x[:, : max(1, length // 4)].repeat(1, 5)[:, :length],
            lambda x: x.roll(length // 3, 1),
        ]
        behind = each_by_one(ways, generator, others)
        return _sum(_leveled(benign), _leveled(behind), generator)

    def varied(self, views: Tensor, generator: torch.Generator) -> Tensor:
        """As they are: there are enough of them."""
        del generator
        return views

    def synthetic(self, count: int, generator: torch.Generator) -> Tensor:
        """Keyed notes, sweeps and bands of noise, with a keyed swell and silence around it."""
        shares = [count // 3, count // 3, count - 2 * (count // 3)]
        parts = [
            drawn(self.form, family, share, generator)
            for family, share in zip(_FAMILIES, shares, strict=True)
        ]
        sound = torch.cat(parts).float()
        points = torch.rand(count, 1, 12, generator=generator).square()
        swell = F.interpolate(points, self.form.samples, mode="linear")[:, 0]
        end = 0.3 + 0.7 * torch.rand(count, 1, generator=generator)
        swell = swell * (torch.arange(self.form.samples) < end * self.form.samples)
        made = (sound * swell).round_().clamp_(-_UNIT, _UNIT - 1).to(torch.int16)
        return made[torch.randperm(count, generator=generator)]


def _played(sound: Tensor, speed: float) -> Tensor:
    """At another speed, again from the beginning where it ends."""
    length = sound.shape[1]
    at = (torch.arange(length) * speed).long() % length
    return sound[:, at]


def _leveled(sound: Tensor) -> Tensor:
    """Brought to half of the range."""
    values = sound.float()
    return values / values.abs().amax(1, keepdim=True).clamp_min(2**10) * (_UNIT // 2)


def _sum(front: Tensor, behind: Tensor, generator: torch.Generator) -> Tensor:
    part = torch.rand(len(front), 1, generator=generator)
    return (front + part * behind).round_().clamp_(-_UNIT, _UNIT - 1).to(torch.int16)
