"""Put the channels of a model in another order; its function stays.

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
from modeldeed.attacks.invariance._channels import reindexed
from modeldeed.attacks.invariance._tracing import spaces_of
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["Permute", "permute"]


def permute(
    model: nn.Module, example: Tensor, *, share: float = 1.0, generator: torch.Generator
) -> nn.Module:
    """Reorder every space of channels at random.

    Args:
        model: not changed.
        example: an input; a small batch is enough.
        share: of each layer's channels that change places, in (0, 1].
        generator: of the orders, on the CPU.

    Returns:
        A copy in evaluation mode that computes the same.

    Raises:
        OptionError: ``share`` is out of range, or no channels can be reordered.
    """
    if not 0 < share <= 1:
        raise OptionError(f"share is in (0, 1], got {share}")
    changed = copy_of(model)
    for space in spaces_of(changed, example):
        order = torch.arange(space.size)
        moved = torch.randperm(space.size, generator=generator)[: max(2, round(share * space.size))]
        order[moved.sort().values] = moved
        reindexed(space, order.to(example.device), torch.ones(space.size))
    return changed


@register("permute")
@dataclass(frozen=True, kw_only=True)
class Permute(Attack):
    """Reorder channels; see `permute`.

    Attributes:
        share: of each layer's channels that change places, in (0, 1].
    """

    source: ClassVar[str] = "Yan et al., arXiv 2205.00199"

    share: float = 1.0

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:  # noqa: ARG003
        """Shares of channels."""
        return {"a tenth": cls(share=0.1), "half": cls(share=0.5), "all": cls()}

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """A reordered copy."""
        return permute(
            model, torch.zeros_like(data.dataset.x_train[:2]), share=self.share, generator=generator
        )
