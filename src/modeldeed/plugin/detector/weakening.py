"""Training steps with weights as an attack may leave them, so that the detector stands it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["weakened"]

_ROUNDED = 0.25
"""In so many of these steps weights are rounded; in the others the smallest are missing."""
_LEVELS = 7  # to either side: 4 bits
_LOOKED_AT = 4096


@contextmanager
def weakened(model: nn.Module, most: float, generator: torch.Generator) -> Iterator[None]:
    """Weaken the weights of a model's linear layers for a while.

    Gradients computed meanwhile are those at the weakened weights; the weights come back as they
    were.

    Args:
        model: changed, and changed back.
        most: part of all weights that may be missing, the smallest first, in [0, 1).
        generator: of how, and how much.
    """
    weights = [m.weight.detach() for m in model.modules() if isinstance(m, nn.Linear)]
    before = [weight.clone() for weight in weights]
    draws = torch.rand(2, generator=generator).tolist()
    if draws[0] < _ROUNDED:
        _round(weights)
    else:
        _prune(weights, most * draws[1], generator)
    try:
        yield
    finally:
        for weight, saved in zip(weights, before, strict=True):
            weight.copy_(saved)


def _round(weights: list[Tensor]) -> None:
    """To 15 levels for each output, as `modeldeed.attacks.Quantize` does with 4 bits."""
    for weight in weights:
        step = weight.abs().amax(1, keepdim=True).clamp_min_(1e-12) / _LEVELS
        weight.div_(step).round_().mul_(step)


def _prune(weights: list[Tensor], share: float, generator: torch.Generator) -> None:
    # A sample of the sizes tells the limit well enough, and quickly.
    sizes = torch.cat([weight.flatten() for weight in weights])
    some = torch.randint(len(sizes), (_LOOKED_AT,), generator=generator).to(sizes.device)
    limit = sizes[some].abs().quantile(share)
    for weight in weights:
        weight.mul_(weight.abs() > limit)
