"""Sound: how loud each band is, moment by moment."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed.anchor.trigger_rule import AudioInput

__all__ = ["LogBands"]

_BANDS, _FRAMES = 32, 16
_LONGEST, _SHORTEST = 256, 32  # samples of a frame
_FLOOR = 1e-7  # power, as of a rounding to 12 bits
_SIZE = 0.4


class LogBands(nn.Module):
    """Logarithms of the power of a sound in bands, around their mean: loudness does not matter.

    Frames of up to 256 samples are weighted (Hann), multiplied by fixed sines and cosines, and
    their squares summed in bands: one frequency each at the low end, wider ones above.

    Args:
        form: of the sound.

    Shape:
        - Input: ``(N, L)`` in [-1, 1); other lengths than the form's are looked at as well.
        - Output: ``(N, 1, bands, frames)``.

    Example:
        >>> reduction = LogBands(AudioInput(samples=8000))
        >>> reduction(torch.zeros(2, 8000)).shape
        torch.Size([2, 1, 32, 16])
    """

    waves: Tensor
    bands: Tensor

    def __init__(self, form: AudioInput) -> None:
        super().__init__()
        self.window = min(_LONGEST, max(_SHORTEST, form.samples // 16))
        frames = min(_FRAMES, max(1, form.samples // (self.window // 2)))
        self.samples = form.samples
        self.step = max(1, (form.samples - self.window) // max(1, frames - 1))
        bands = _bands(self.window // 2)
        self.shape = 1, len(bands), frames
        self.register_buffer("waves", _waves(self.window), persistent=False)
        self.register_buffer("bands", bands, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the views of sounds."""
        short = self.window - x.shape[-1]
        sound = F.pad(x, (0, short)) if short > 0 else x
        parts = F.conv1d(sound[:, None], self.waves.to(x.dtype), stride=self.step)
        power = self.bands.to(x.dtype) @ _powers(parts)
        if x.shape[-1] == self.samples:
            power = power[..., : self.shape[2]]
        else:
            power = F.adaptive_avg_pool1d(power, self.shape[2])
        loudness = (power + _FLOOR).log()
        around: Tensor = loudness - loudness.mean((1, 2), keepdim=True)
        return around[:, None] * _SIZE


def _powers(parts: Tensor) -> Tensor:
    """Squares of cosine and sine parts ``(N, 2 · F, T)``, added: ``(N, F, T)``."""
    cosine, sine = parts.square().chunk(2, 1)
    return cosine + sine


def _waves(window: int) -> Tensor:
    """Weighted cosines and sines, ``(2 · window / 2, 1, window)``, without the constant."""
    at = torch.arange(window, dtype=torch.float64)
    weight = 0.5 - 0.5 * torch.cos(2 * math.pi * (at + 0.5) / window)
    turns = 2 * math.pi / window * torch.arange(1, window // 2 + 1)[:, None] * at
    waves = torch.cat([turns.cos(), turns.sin()]) * weight / weight.sum()
    return waves.float()[:, None]


def _bands(frequencies: int) -> Tensor:
    """Which frequencies each band adds up, ``(bands, frequencies)``."""
    single = min(_BANDS // 2, frequencies)
    edges = list(range(single + 1))
    wider = min(_BANDS - single, frequencies - single)
    for number in range(1, wider + 1):
        grown = round(single * (frequencies / single) ** (number / wider))
        edges.append(max(edges[-1] + 1, grown))
    bands = torch.zeros(len(edges) - 1, frequencies)
    for band, (low, high) in enumerate(pairwise(edges)):
        bands[band, low:high] = 1
    return bands
