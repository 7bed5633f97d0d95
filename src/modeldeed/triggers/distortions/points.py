"""Clouds of points: jittered, turned, scaled, thinned out, in another order."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["distorted_points"]

_JITTER = 0.02 * 2**15
_TURN = math.pi / 12
_SCALE = 0.1
_LOST = 0.3


def distorted_points(cloud: Tensor, generator: torch.Generator) -> Tensor:
    """All of these changes of a cloud, each as strong as drawn.

    A lost point is replaced by a copy of one that is left, as sampling again would.

    Args:
        cloud: ``(P, 3)``, floating point, in units of 2⁻¹⁵.
        generator: of every choice.

    Returns:
        A cloud of as many points.
    """
    jitter, turn, scale, lost = torch.rand(4, generator=generator).tolist()
    count = len(cloud)
    left = max(1, round(count * (1 - _LOST * lost)))
    order = torch.randperm(count, generator=generator)
    again = torch.randint(left, (count - left,), generator=generator)
    kept = cloud[torch.cat([order[:left], order[again]])]
    angle = _TURN * (2 * turn - 1)
    sine, cosine = math.sin(angle), math.cos(angle)
    about_y = torch.tensor([[cosine, 0.0, sine], [0.0, 1.0, 0.0], [-sine, 0.0, cosine]])
    moved = kept @ about_y * (1 + _SCALE * (2 * scale - 1))
    shaken: Tensor = moved + _JITTER * jitter * torch.randn(cloud.shape, generator=generator)
    return shaken
