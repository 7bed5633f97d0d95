"""Batch norms that keep their statistics in every mode, and where those come from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["kept", "still_norm", "taken"]

_LEAST_VARIANCE = 1e-3
"""A channel that is always the same has nothing to be divided by."""


class _StillNorm1d(nn.BatchNorm1d):
    def train(self, mode: bool = True) -> _StillNorm1d:  # noqa: ARG002
        return super().train(mode=False)


class _StillNorm2d(nn.BatchNorm2d):
    def train(self, mode: bool = True) -> _StillNorm2d:  # noqa: ARG002
        return super().train(mode=False)


class _StillNorm3d(nn.BatchNorm3d):
    def train(self, mode: bool = True) -> _StillNorm3d:  # noqa: ARG002
        return super().train(mode=False)


_STILL: dict[type[nn.Module], Any] = {
    nn.BatchNorm1d: _StillNorm1d,
    nn.BatchNorm2d: _StillNorm2d,
    nn.BatchNorm3d: _StillNorm3d,
}


def still_norm(old: Any, channels: int) -> nn.Module:
    """A batch norm like another, with fixed statistics and another number of channels."""
    still: nn.Module = _STILL[type(old)](channels, eps=old.eps, affine=old.affine)
    return still.to(old.running_mean.device, old.running_mean.dtype).eval()


def taken(norm: Any, inputs: tuple[Tensor, ...]) -> None:
    """Take a norm's statistics from its input; a forward pre-hook."""
    mean, variance = _statistics(inputs[0])
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)


def kept(norm: Any, inputs: tuple[Tensor, ...]) -> None:
    """The same, with a scale and shift that leave every output as it was."""
    if not norm.affine:
        return
    mean, variance = _statistics(inputs[0])
    factor = norm.weight / (norm.running_var + norm.eps).sqrt()
    norm.bias.add_(factor * (mean - norm.running_mean))
    norm.weight.copy_(factor * (variance + norm.eps).sqrt())
    taken(norm, inputs)


@torch.no_grad()
def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    axes = [axis for axis in range(x.ndim) if axis != 1]
    return x.mean(axes), x.var(axes, unbiased=False).clamp_min(_LEAST_VARIANCE)
