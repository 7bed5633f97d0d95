"""Add noise to the weights, as large as a part of their own spread.

Source:
    Used against marks since Y. Uchida et al., "Embedding Watermarks into Deep Neural Networks",
    ICMR 2017; as a removal of its own: N. Lukas et al., "SoK: How Robust is Image Classification
    Deep Neural Network Watermarking?", S&P 2022.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from modeldeed.attacks._layers import copy_of, weights_of
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["WeightNoise", "add_weight_noise"]


def add_weight_noise(model: nn.Module, *, scale: float, generator: torch.Generator) -> nn.Module:
    """Add Gaussian noise to the weights of a copy.

    Args:
        model: not changed.
        scale: deviation of the noise in root mean squares of the weight it is added to, > 0.
        generator: of the noise, on the CPU.

    Returns:
        The copy in evaluation mode; biases and norms stay.

    Raises:
        OptionError: ``scale`` is out of range, or there is no layer with a weight.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise OptionError(f"scale is a finite number > 0, got {scale}")
    changed = copy_of(model)
    for _, weight in weights_of(changed):
        noise = torch.randn(weight.shape, generator=generator).to(weight)
        weight.data.add_(noise, alpha=scale * float(weight.data.float().square().mean().sqrt()))
    return changed


@register("weight-noise")
@dataclass(frozen=True, kw_only=True)
class WeightNoise(Attack):
    """Add Gaussian noise to the weights; see `add_weight_noise`.

    Attributes:
        scale: of the noise, in root mean squares of each weight.
    """

    source: ClassVar[str] = "Uchida et al., ICMR 2017"

    scale: float

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:  # noqa: ARG003
        """From a twentieth of the weights to half of them."""
        return {f"{scale:.0%}".replace("%", " %"): cls(scale=scale) for scale in (0.05, 0.2, 0.5)}

    def apply(
        self,
        model: nn.Module,
        data: AttackData,  # noqa: ARG002 - needs none
        generator: torch.Generator,
    ) -> nn.Module:
        """A noisy copy."""
        return add_weight_noise(model, scale=self.scale, generator=generator)
