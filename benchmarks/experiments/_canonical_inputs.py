"""Inputs of pictures, points and sound as canonical integers, and what may happen to those."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.experiments._distortions import DISTORTIONS, Distortion
from benchmarks.speech import SPOKEN_DIGITS
from modeldeed.data import Dataset
from modeldeed.suspects.answering.preparation import Preparation

__all__ = ["POINTS", "SOUND", "Form", "form_of_data"]

_UNIT = 2**15
_POINTS_AXES = 3


@dataclass(frozen=True)
class Form:
    """The form of a data set's inputs.

    Attributes:
        example: what a trigger set is issued with.
        prepare: from canonical integers to inputs.
        canonical: from inputs to canonical integers.
        distortions: by name.
    """

    example: Tensor
    prepare: Callable[[Tensor], Any]
    canonical: Callable[[Tensor], Tensor]
    distortions: Mapping[str, Distortion]


def form_of_data(dataset: Dataset) -> Form:
    """The form of some data, as `Host.load` normalizes them."""
    device, some = dataset.x_train.device, dataset.x_train[:4]
    if dataset.name == SPOKEN_DIGITS:
        plain = Preparation(audio="N1L")
        return Form(
            some[:, :, 0],
            lambda sound: plain(sound)[:, :, None].to(device),  # type: ignore[index]
            lambda x: _integers(x[:, 0, 0]),
            SOUND,
        )
    if some.dim() == _POINTS_AXES:
        plain = Preparation()
        return Form(some, lambda cloud: plain(cloud).to(device), _integers, POINTS)  # type: ignore[union-attr]
    standard = Preparation(mean=dataset.mean, std=dataset.std)
    mean, std = (torch.tensor(values)[:, None, None] for values in (dataset.mean, dataset.std))
    return Form(
        some,
        lambda images: standard(images).to(device),  # type: ignore[union-attr]
        lambda x: ((x.cpu() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8),
        DISTORTIONS,
    )


def _integers(x: Tensor) -> Tensor:
    return (x.cpu() * _UNIT).round().clamp(-_UNIT, _UNIT - 1).to(torch.int16)


def _changed(change: Callable[[Tensor, torch.Generator], Tensor]) -> Distortion:
    """A change of values in [−1, 1) as one of canonical integers."""

    def distorted(inputs: Tensor, generator: torch.Generator) -> Tensor:
        return _integers(change(inputs.float() / _UNIT, generator))

    return distorted


def _jittered(clouds: Tensor, generator: torch.Generator) -> Tensor:
    return clouds + 0.02 * torch.randn(clouds.shape, generator=generator)


def _thinned(clouds: Tensor, generator: torch.Generator) -> Tensor:
    """A quarter of the points replaced by copies of others."""
    count = clouds.shape[1]
    left = count - count // 4
    order = torch.randperm(count, generator=generator)
    again = torch.randint(left, (count - left,), generator=generator)
    return clouds[:, torch.cat([order[:left], order[again]])]


def _turned(clouds: Tensor, _: torch.Generator) -> Tensor:
    sine, cosine = math.sin(math.pi / 12), math.cos(math.pi / 12)
    return clouds @ torch.tensor([[cosine, 0.0, sine], [0.0, 1.0, 0.0], [-sine, 0.0, cosine]])


def _noisy(sound: Tensor, generator: torch.Generator) -> Tensor:
    size = 0.1 * sound.square().mean(1, keepdim=True).sqrt()
    return sound + size * torch.randn(sound.shape, generator=generator)


def _dull(sound: Tensor, _: torch.Generator) -> Tensor:
    low = F.avg_pool1d(sound[:, None], 2)
    return F.interpolate(low, sound.shape[1], mode="linear")[:, 0]


def _late(sound: Tensor, _: torch.Generator) -> Tensor:
    far = sound.shape[1] // 20
    return F.pad(sound, (far, 0))[:, : sound.shape[1]]


POINTS: Mapping[str, Distortion] = {
    "jitter": _changed(_jittered),
    "a quarter of the points lost": _changed(_thinned),
    "turned by 15°": _changed(_turned),
}
"""Jitter has a deviation of 0.02 in the unit sphere; the axis of turning is y."""

SOUND: Mapping[str, Distortion] = {
    "noise": _changed(_noisy),
    "half the sampling rate": _changed(_dull),
    "half as loud": _changed(lambda sound, _: sound / 2),
    "8 bits": _changed(lambda sound, _: (sound * 128).round() / 128),
    "later": _changed(_late),
}
"""Noise is 20 dB below each sound; later by a twentieth of the length."""
