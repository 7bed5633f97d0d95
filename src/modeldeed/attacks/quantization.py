"""Round weights to a few levels and back, as storing them in small integers would.

Source:
    R. Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference",
    arXiv 1806.08342, section 2.2: symmetric, one scale for each output channel; with groups, one
    scale for so many weights in a row, as 4-bit files of language models have it: T. Dettmers,
    L. Zettlemoyer, "The case for 4-bit precision", ICML 2023, section 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from modeldeed.attacks._layers import copy_of, weights_of
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["Quantize", "quantize"]


def quantize(model: nn.Module, *, bits: int, group: int | None = None) -> nn.Module:
    """Round the weights of a copy's layers to integers times a scale.

    Args:
        model: not changed.
        bits: 2 … 8; weights become one of 2^bits − 1 levels, symmetric about zero, with each
            output channel's largest magnitude as the last level.
        group: weights of an output channel that share a scale; None for all of them.

    Returns:
        The copy in evaluation mode, with floating-point weights again; biases and norms stay.

    Raises:
        OptionError: an argument is out of range, or there is no such layer.
    """
    if not 2 <= bits <= 8:
        raise OptionError(f"bits is in 2 … 8, got {bits}")
    if group is not None and group < 1:
        raise OptionError(f"group is a number of weights, at least 1, got {group}")
    changed = copy_of(model)
    for _, weight in weights_of(changed):
        rows = weight.data.flatten(1)
        width = rows.shape[1] if group is None else min(group, rows.shape[1])
        parts = [_rounded(part, bits) for part in torch.split(rows, width, 1)]
        weight.data.copy_(torch.cat(parts, 1).view(weight.shape))
    return changed


def _rounded(rows: Tensor, bits: int) -> Tensor:
    """Every row of ``(O, D)`` in the levels of its own largest magnitude."""
    levels = 2 ** (bits - 1) - 1
    largest = rows.abs().amax(1, keepdim=True)
    scale = torch.where(largest > 0, largest, 1.0) / levels
    rounded: Tensor = (rows / scale).round().clamp(-levels, levels) * scale
    return rounded


@register("quantize")
@dataclass(frozen=True, kw_only=True)
class Quantize(Attack):
    """Round weights to a few levels; see `quantize`.

    Attributes:
        bits: of a weight, 2 … 8.
        group: weights that share a scale; None for all of an output channel.
    """

    source: ClassVar[str] = "Krishnamoorthi, arXiv 1806.08342"

    bits: int
    group: int | None = None

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:  # noqa: ARG003
        """From 8 bits to 2."""
        return {
            "8 bits": cls(bits=8),
            "4 bits, groups of 32": cls(bits=4, group=32),
            "4 bits": cls(bits=4),
            "3 bits": cls(bits=3),
            "2 bits": cls(bits=2),
        }

    def apply(
        self,
        model: nn.Module,
        data: AttackData,  # noqa: ARG002 - needs none
        generator: torch.Generator,  # noqa: ARG002 - draws nothing
    ) -> nn.Module:
        """A rounded copy."""
        return quantize(model, bits=self.bits, group=self.group)
