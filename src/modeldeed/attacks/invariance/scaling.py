"""Multiply channels with positive factors and divide them out again; the function stays.

Source:
    Y. Yan et al., "Cracking White-box DNN Watermarks via Invariant Neuron Transforms", arXiv
    2205.00199.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from modeldeed.attacks._layers import copy_of
from modeldeed.attacks.invariance._channels import rescaled
from modeldeed.attacks.invariance._tracing import spaces_of
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["Scale", "scale"]


def scale(
    model: nn.Module, example: Tensor, *, spread: float = 1.0, generator: torch.Generator
) -> nn.Module:
    """Scale every channel that only positively homogeneous operations use.

    Args:
        model: not changed.
        example: an input; a small batch is enough.
        spread: standard deviation of the factors' natural logarithms, > 0.
        generator: of the factors, on the CPU.

    Returns:
        A copy in evaluation mode that computes the same.

    Raises:
        OptionError: ``spread`` is out of range, or no channels can be scaled.
    """
    if not spread > 0:
        raise OptionError(f"spread is positive, got {spread}")
    changed = copy_of(model)
    scaled = False
    for space in spaces_of(changed, example, parted=True):
        factors = (spread * torch.randn(space.size, generator=generator)).exp()
        if space.homogeneous:
            rescaled(space, factors.to(example.device))
            scaled = True
    if not scaled:
        raise OptionError(
            f"{type(model).__name__} has no channels that only positively homogeneous operations "
            "use; a transformer is rewritten by permute-heads and rotate-residual"
        )
    return changed


@register("scale")
@dataclass(frozen=True, kw_only=True)
class Scale(Attack):
    """Scale channels; see `scale`.

    Attributes:
        spread: of the factors' logarithms.
    """

    source: ClassVar[str] = "Yan et al., arXiv 2205.00199"

    spread: float = 1.0

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:  # noqa: ARG003
        """Spreads of the factors."""
        return {"0.3": cls(spread=0.3), "1": cls(), "2": cls(spread=2.0)}

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """A scaled copy."""
        return scale(
            model,
            torch.zeros_like(data.dataset.x_train[:2]),
            spread=self.spread,
            generator=generator,
        )
