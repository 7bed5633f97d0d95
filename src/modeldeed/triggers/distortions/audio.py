"""Sound: louder or softer, shifted, noisy, without its highest tones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["distorted_audio"]

_GAIN = 0.3
_SHIFT = 0.05  # of the length
_NOISE = 0.02 * 2**15


def distorted_audio(sound: Tensor, generator: torch.Generator) -> Tensor:
    """All of these changes of a sound, each as strong as drawn.

    Args:
        sound: ``(L,)``, floating point, in units of 2⁻¹⁵.
        generator: of every choice.

    Returns:
        A sound of the same length.
    """
    gain, shift, noise, dull = torch.rand(4, generator=generator).tolist()
    far = round(_SHIFT * (2 * shift - 1) * len(sound))
    moved = F.pad(sound, (far, 0))[: len(sound)] if far > 0 else F.pad(sound[-far:], (0, -far))
    # Every sample as it is, or mixed with its neighbors: what a low sampling rate leaves.
    beside = F.avg_pool1d(F.pad(moved[None, None], (1, 1), mode="replicate"), 3, 1)[0, 0]
    mixed = torch.lerp(moved, beside, dull)
    louder = mixed * (1 + _GAIN * (2 * gain - 1))
    noisy: Tensor = louder + _NOISE * noise * torch.randn(sound.shape, generator=generator)
    return noisy
