"""Pictures: compressed, blurred, resized, cut, shifted, noisy, brighter."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["CHANGES", "distorted_image"]

_BLOCK = 8  # of JPEG
_QUALITY = 30.0, 90.0
_BLUR = 0.045  # deviation, of the shorter side
_SMALLEST = 0.6
_CUT = 0.8
_SHIFT = 8  # of the shorter side
_NOISE = 24.0
_CONTRAST = 0.25
_BRIGHTNESS = 32.0


def distorted_image(image: Tensor, generator: torch.Generator) -> Tensor:
    """One or two changes of a picture, drawn anew each time.

    Args:
        image: ``(C, H, W)``, floating point, 0 … 255.
        generator: of every choice.

    Returns:
        A picture of the same shape; its values may leave the range a little.
    """
    number = 1 + int(torch.rand((), generator=generator) < 0.3)
    for index in torch.randperm(len(CHANGES), generator=generator)[:number].tolist():
        image = CHANGES[index](image, generator)
    return image


def _compressed(image: Tensor, generator: torch.Generator) -> Tensor:
    """As JPEG keeps it: cosines of blocks, rounded the coarser the finer they are."""
    coarse = _steps(_between(*_QUALITY, generator))
    colored = len(image) == 3
    planes = _TO_LUMA @ image.flatten(1) if colored else image.flatten(1)
    planes = planes.view(image.shape)
    if colored:
        kept = [_rounded(planes[:1] - 128, coarse) + 128, _halved(planes[1:], coarse)]
        return (_FROM_LUMA @ torch.cat(kept).flatten(1)).view(image.shape)
    return _rounded(planes - 128, coarse) + 128


def _halved(chroma: Tensor, coarse: Tensor) -> Tensor:
    """Color differences at half the resolution."""
    high, wide = chroma.shape[1:]
    small = F.avg_pool2d(chroma[None], 2, ceil_mode=True)[0]
    return F.interpolate(_rounded(small, coarse)[None], scale_factor=2)[0, :, :high, :wide]


def _rounded(planes: Tensor, coarse: Tensor) -> Tensor:
    channels, high, wide = planes.shape
    rows, columns = -(-high // _BLOCK), -(-wide // _BLOCK)
    fill = (0, columns * _BLOCK - wide, 0, rows * _BLOCK - high)
    filled = F.pad(planes[None], fill, mode="replicate")[0]
    blocks = filled.view(channels, rows, _BLOCK, columns, _BLOCK).transpose(2, 3)
    cosines = _cosines()
    spectrum = (cosines @ blocks @ cosines.T / coarse).round_() * coarse
    back = (cosines.T @ spectrum @ cosines).transpose(2, 3).reshape(filled.shape)
    return back[:, :high, :wide]


def _blurred(image: Tensor, generator: torch.Generator) -> Tensor:
    deviation = _between(0.3, max(0.6, _BLUR * min(image.shape[1:])), generator)
    reach = min(math.ceil(2.5 * deviation), min(image.shape[1:]) - 1)
    weights = (-0.5 * (torch.arange(-reach, reach + 1) / deviation) ** 2).exp()
    weights /= weights.sum()
    filled = F.pad(image[:, None], (reach,) * 4, mode="replicate")
    down = F.conv2d(filled, weights.view(1, 1, -1, 1))
    return F.conv2d(down, weights.view(1, 1, 1, -1))[:, 0]


def _resized(image: Tensor, generator: torch.Generator) -> Tensor:
    part = _between(_SMALLEST, 1, generator)
    small = [max(2, round(part * side)) for side in image.shape[1:]]
    return _scaled(_scaled(image, small), list(image.shape[1:]))


def _cut_out(image: Tensor, generator: torch.Generator) -> Tensor:
    part = _between(_CUT, 1, generator)
    high, wide = (max(2, round(part * side)) for side in image.shape[1:])
    top, left = (
        int(torch.randint(whole - side + 1, (), generator=generator))
        for whole, side in zip(image.shape[1:], (high, wide), strict=True)
    )
    return _scaled(image[:, top : top + high, left : left + wide], list(image.shape[1:]))


def _shifted(image: Tensor, generator: torch.Generator) -> Tensor:
    """Moved, with the border's pixels drawn outwards."""
    far = max(1, min(image.shape[1:]) // _SHIFT)
    down, across = torch.randint(-far, far + 1, (2,), generator=generator).tolist()
    high, wide = image.shape[1:]
    rows = (torch.arange(high) + down).clamp_(0, high - 1)
    columns = (torch.arange(wide) + across).clamp_(0, wide - 1)
    return image[:, rows][:, :, columns]


def _noisy(image: Tensor, generator: torch.Generator) -> Tensor:
    deviation = _between(0, _NOISE, generator)
    return image + deviation * torch.randn(image.shape, generator=generator)


def _brightened(image: Tensor, generator: torch.Generator) -> Tensor:
    contrast = _between(1 - _CONTRAST, 1 + _CONTRAST, generator)
    return (image - 128) * contrast + 128 + _between(-_BRIGHTNESS, _BRIGHTNESS, generator)


CHANGES: tuple[Callable[[Tensor, torch.Generator], Tensor], ...] = (
    _compressed,
    _blurred,
    _resized,
    _cut_out,
    _shifted,
    _noisy,
    _brightened,
)


def _scaled(image: Tensor, size: list[int]) -> Tensor:
    return F.interpolate(image[None], size, mode="bilinear", antialias=True)[0]


def _between(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _steps(quality: float) -> Tensor:
    """The steps of rounding at a quality, as the reference encoder scales its table."""
    scale = 50 / quality if quality < 50 else 2 - quality / 50
    return (_TABLE * scale).round_().clamp_(1, 255)


@cache
def _cosines() -> Tensor:
    """The orthonormal cosine transform of a block's side."""
    at = torch.arange(_BLOCK, dtype=torch.float32)
    waves = torch.cos(math.pi / _BLOCK * (at + 0.5) * at[:, None]) * math.sqrt(2 / _BLOCK)
    waves[0] /= math.sqrt(2)
    return waves


# ISO/IEC 10918-1, annex K: the luminance table.
_TABLE = torch.tensor(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=torch.float32,
)
# Red, green, blue → brightness and differences of color around 0, as in JFIF.
_TO_LUMA = torch.tensor(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
)
_FROM_LUMA = torch.tensor([[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]])
