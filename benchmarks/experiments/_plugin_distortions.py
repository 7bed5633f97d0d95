"""What may happen to a picture on its way to a fused model: more than triggers must bear."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.experiments._distortions import DISTORTIONS, Distortion

__all__ = ["PICTURES"]

_KEPT = 0.85


def _cropped(images: Tensor, _: torch.Generator) -> Tensor:
    """The central part, brought back to the whole size."""
    high, wide = (round(_KEPT * side) for side in images.shape[2:])
    top, left = (images.shape[2] - high) // 2, (images.shape[3] - wide) // 2
    part = images[:, :, top : top + high, left : left + wide].float()
    size = tuple(images.shape[2:])
    whole = F.interpolate(part, size, mode="bilinear", antialias=True)
    return whole.round_().clamp_(0, 255).to(torch.uint8)


def _flipped(images: Tensor, _: torch.Generator) -> Tensor:
    return images.flip(3)


def _darker(images: Tensor, _: torch.Generator) -> Tensor:
    return (0.7 * images.float()).round_().to(torch.uint8)


def _paler(images: Tensor, _: torch.Generator) -> Tensor:
    """Contrast and color taken down to 60 %."""
    values = images.float()
    values = 128 + 0.6 * (values - 128)
    gray = values.mean(1, keepdim=True)
    return (gray + 0.6 * (values - gray)).round_().clamp_(0, 255).to(torch.uint8)


PICTURES: Mapping[str, Distortion] = {
    **DISTORTIONS,
    "cropped to 85 %": _cropped,
    "flipped": _flipped,
    "darker": _darker,
    "paler": _paler,
}
"""Beside those of triggers: the central 85 % of each side enlarged; mirrored; 0.7 of the
brightness; 0.6 of contrast and of color."""
