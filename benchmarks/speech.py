"""Spoken digits and a network for them: sound as pictures of one line, so that all attacks fit."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from modeldeed.data import Dataset
from modeldeed.errors import DataError
from modeldeed.models import NormKind, make_norm

__all__ = ["SAMPLES", "SPOKEN_DIGITS", "SoundNetwork", "spoken_digits"]

SPOKEN_DIGITS = "spoken-digits"
SAMPLES = 4096
"""Of each clip, from its middle: half a second at 8 kHz; shorter ones have silence around them."""
_TEST_TAKES = 5
"""The first takes of each speaker and digit are the test part, as the data's authors have it."""


def spoken_digits(root: Path | None) -> Dataset:
    """Read the Free Spoken Digit Dataset from ``<root>/spoken-digits.npz``.

    Its arrays: ``clips`` int16, all clips one after the other; ``offset`` where each begins and
    the last ends; ``digit`` and ``take`` of each.

    Args:
        root: the folder.

    Returns:
        Sound in [−1, 1), float32 ``(N, 1, 1, 4096)``. Its mean and deviation say that nothing was
        subtracted or divided by.

    Raises:
        DataError: the file is missing or not of this form.
    """
    path = Path(root or ".") / f"{SPOKEN_DIGITS}.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            clips, offset, digit, take = (
                arrays[name] for name in ("clips", "offset", "digit", "take")
            )
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path} is no archive of spoken digits: {error}") from error
    if len(offset) != len(digit) + 1 or len(take) != len(digit) or offset[-1] != len(clips):
        raise DataError(f"{path}: offsets, digits and takes do not fit the clips")
    cut = np.stack([_middle(clips[a:b]) for a, b in pairwise(offset)])
    x = torch.from_numpy(cut).float().div_(2**15)[:, None, None]
    y = torch.from_numpy(digit.astype(np.int64))
    test = torch.from_numpy(take < _TEST_TAKES)
    return Dataset(
        name=SPOKEN_DIGITS,
        x_train=x[~test],
        y_train=y[~test],
        x_test=x[test],
        y_test=y[test],
        classes=tuple("0123456789"),
        source="Free Spoken Digit Dataset, Z. Jackson et al.",
        license="CC BY-SA 4.0",
        mean=(0.0,),
        std=(1.0,),
    )


def _middle(clip: NDArray[np.int16]) -> NDArray[np.int16]:
    if len(clip) >= SAMPLES:
        start = (len(clip) - SAMPLES) // 2
        return clip[start : start + SAMPLES]
    before = (SAMPLES - len(clip)) // 2
    return np.pad(clip, (before, SAMPLES - len(clip) - before))


class SoundNetwork(nn.Module):
    """Strided convolutions over raw sound, each followed by a norm; then an average over time.

    Args:
        classes: outputs.
        norm: kind of the norms.

    Shape:
        - Input: ``(N, 1, 1, L)``.
        - Output: ``(N, classes)``.

    Reference:
        W. Dai et al., "Very Deep Convolutional Neural Networks for Raw Waveforms", ICASSP 2017:
        its M5, narrower.
    """

    def __init__(self, classes: int, norm: NormKind = "batch") -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        before = 1
        for width, kernel, stride in ((32, 80, 8), (32, 3, 1), (64, 3, 1), (128, 3, 1)):
            convolution = nn.Conv2d(
                before, width, (1, kernel), (1, stride), (0, kernel // 2), bias=False
            )
            pool = nn.MaxPool2d((1, 4 if width < 128 else 2))
            blocks += [convolution, make_norm(norm, width, dims=2), nn.ReLU(), pool]
            before = width
        self.features = nn.Sequential(*blocks)
        self.classifier = nn.Linear(before, classes)

    def forward(self, sound: Tensor) -> Tensor:
        """Return one score per class."""
        outputs: Tensor = self.classifier(self.features(sound).mean((2, 3)))
        return outputs
