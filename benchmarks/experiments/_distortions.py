"""What may happen to a picture on its way to an endpoint: bytes in, bytes out."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

__all__ = ["DISTORTIONS", "Distortion"]

Distortion = Callable[[Tensor, torch.Generator], Tensor]
"""From images uint8 ``(N, C, H, W)`` of 1 or 3 channels to as many of the same shape."""

Picture = Callable[[Image.Image], Image.Image]


def _each(change: Picture, images: Tensor, _: torch.Generator) -> Tensor:
    return torch.stack([_array(change(_picture(image))) for image in images])


def _picture(image: Tensor) -> Image.Image:
    array: NDArray[np.uint8] = image.permute(1, 2, 0).numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def _array(picture: Image.Image) -> Tensor:
    array = np.array(picture, np.uint8)
    return torch.from_numpy(array.reshape(*array.shape[:2], -1)).permute(2, 0, 1)


def _jpeg(quality: int, picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file)


def _blurred(part: float, picture: Image.Image) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(part * min(picture.size)))


def _resized(part: float, picture: Image.Image) -> Image.Image:
    wide, high = picture.size
    small = picture.resize((round(part * wide), round(part * high)), Image.Resampling.BILINEAR)
    return small.resize((wide, high), Image.Resampling.BILINEAR)


def _shifted(part: int, images: Tensor, generator: torch.Generator) -> Tensor:
    """Cut out at random places of the image with its border pixels drawn outwards."""
    far = max(1, min(images.shape[2:]) // part)
    places = torch.randint(-far, far + 1, (len(images), 2), generator=generator)
    high, wide = torch.arange(images.shape[2]), torch.arange(images.shape[3])
    moved = [
        image[:, (high + y).clamp(0, len(high) - 1)][:, :, (wide + x).clamp(0, len(wide) - 1)]
        for image, (y, x) in zip(images, places.tolist(), strict=True)
    ]
    return torch.stack(moved)


def _noisy(deviation: float, images: Tensor, generator: torch.Generator) -> Tensor:
    noise = deviation * torch.randn(images.shape, generator=generator)
    return (images + noise).round_().clamp_(0, 255).to(torch.uint8)


DISTORTIONS: Mapping[str, Distortion] = {
    "JPEG 75": partial(_each, partial(_jpeg, 75)),
    "JPEG 50": partial(_each, partial(_jpeg, 50)),
    "blur": partial(_each, partial(_blurred, 1 / 32)),
    "resized to 75 %": partial(_each, partial(_resized, 0.75)),
    "shifted": partial(_shifted, 8),
    "noise": partial(_noisy, 16.0),
}
"""Blurred with a deviation of a thirty-second of the shorter side; shifted at random by up to an
eighth of it each way; Gaussian noise of deviation 16 of 255."""
