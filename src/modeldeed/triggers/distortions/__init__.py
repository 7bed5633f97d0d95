"""Small changes of triggers while they are learned: what may happen on the way to an endpoint.

A suspect rarely sees what was sent: pictures are compressed, resized and cut, sound is turned up
or down. A model that learned a trigger with such changes knows it with them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from modeldeed.anchor.trigger_rule import AudioInput, ImageInput, PointInput, TriggerInput
from modeldeed.triggers.distortions.audio import distorted_audio
from modeldeed.triggers.distortions.images import distorted_image
from modeldeed.triggers.distortions.points import distorted_points
from modeldeed.triggers.distortions.tokens import distorted_tokens

__all__ = ["CLEAN_SHARE", "distorted"]

CLEAN_SHARE = 0.25
"""So many triggers are left as they are."""


def distorted(inputs: Tensor, form: TriggerInput, generator: torch.Generator) -> Tensor:
    """Change each of some triggers a little, or not at all.

    Args:
        inputs: canonical integers, on the CPU.
        form: of one input.
        generator: every random choice; on the CPU.

    Returns:
        A new tensor of the same shape and dtype.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
        >>> distorted(images, ImageInput(channels=1, height=8, width=8), generator).shape
        torch.Size([2, 1, 8, 8])
    """
    clean = torch.rand(len(inputs), generator=generator) < CLEAN_SHARE
    return torch.stack(
        [
            one if left else _changed(one, form, generator)
            for one, left in zip(inputs, clean.tolist(), strict=True)
        ]
    )


def _changed(one: Tensor, form: TriggerInput, generator: torch.Generator) -> Tensor:
    change: Callable[[Tensor, torch.Generator], Tensor]
    if isinstance(form, ImageInput):
        change, low, high = distorted_image, 0, 255
    elif isinstance(form, PointInput):
        change, low, high = distorted_points, -(2**15), 2**15 - 1
    elif isinstance(form, AudioInput):
        change, low, high = distorted_audio, -(2**15), 2**15 - 1
    else:
        return distorted_tokens(one, form, generator)
    return change(one.float(), generator).round_().clamp_(low, high).to(one.dtype)
