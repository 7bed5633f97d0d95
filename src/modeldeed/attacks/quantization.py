"""Round weights to a few levels and back, as storing them in small integers would.

Source:
    R. Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference",
    arXiv 1806.08342, section 2.2: symmetric, one scale for each output channel.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from modeldeed.attacks._layers import copy_of, weighted_layers
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.errors import OptionError

__all__ = ["Quantize", "quantize"]


def quantize(model: nn.Module, *, bits: int) -> nn.Module:
    """Round the weights of a copy's convolutions and linear layers to integers times a scale.

    Args:
        model: not changed.
        bits: 2 … 8; weights become one of 2^bits − 1 levels, symmetric about zero, with each
            output channel's largest magnitude as the last level.

    Returns:
        The copy in evaluation mode, with floating-point weights again; biases and norms stay.

    Raises:
        OptionError: ``bits`` is out of range, or there is no such layer.
    """
    if not 2 <= bits <= 8:
        raise OptionError(f"bits is in 2 … 8, got {bits}")
    changed = copy_of(model)
    levels = 2 ** (bits - 1) - 1
    for _, module in weighted_layers(changed):
        weight: torch.Tensor = module.weight.data
        largest = weight.abs().amax(list(range(1, weight.dim())), keepdim=True)
        scale = torch.where(largest > 0, largest, 1.0) / levels
        weight.copy_((weight / scale).round().clamp(-levels, levels) * scale)
    return changed


@register("quantize")
@dataclass(frozen=True, kw_only=True)
class Quantize(Attack):
    """Round weights to a few levels; see `quantize`.

    Attributes:
        bits: of a weight, 2 … 8.
    """

    bits: int

    def apply(
        self,
        model: nn.Module,
        data: AttackData,  # noqa: ARG002 - needs none
        generator: torch.Generator,  # noqa: ARG002 - draws nothing
    ) -> nn.Module:
        """A rounded copy."""
        return quantize(model, bits=self.bits)
