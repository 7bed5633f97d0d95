"""Set small weights to zero, over the whole model or layer by layer.

Source:
    S. Han, J. Pool, J. Tran, W. Dally, "Learning both Weights and Connections for Efficient Neural
    Networks", NeurIPS 2015; as an attack on marks: Y. Uchida et al., "Embedding Watermarks into
    Deep Neural Networks", ICMR 2017, section 4.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from modeldeed.attacks._layers import copy_of, weighted_layers
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.errors import OptionError

__all__ = ["Prune", "prune"]

Scope = Literal["global", "layer"]


def prune(model: nn.Module, *, share: float, scope: Scope = "global") -> nn.Module:
    """Set the smallest weights of a copy's convolutions and linear layers to zero.

    Args:
        model: not changed.
        share: part of the weights, in (0, 1).
        scope: ``"global"`` compares all of them together, ``"layer"`` those of a layer, so that
            every layer loses the same share.

    Returns:
        The copy in evaluation mode; biases and norms stay.

    Raises:
        OptionError: an argument is out of range, or there is no such layer.
    """
    if not 0 < share < 1:
        raise OptionError(f"share is in (0, 1), got {share}")
    if scope not in ("global", "layer"):
        raise OptionError(f"scope is 'global' or 'layer', got {scope!r}")
    changed = copy_of(model)
    weights: list[Tensor] = [module.weight.data for _, module in weighted_layers(changed)]
    for group in [weights] if scope == "global" else [[weight] for weight in weights]:
        _zero_smallest(group, share)
    return changed


def _zero_smallest(weights: list[Tensor], share: float) -> None:
    """Zero the smallest ``share`` of all these weights in place, exactly so many.

    `torch.nn.utils.prune.global_unstructured` cannot read weights that are stored channels last.
    """
    sizes = torch.cat([weight.abs().flatten() for weight in weights])
    smallest = sizes.topk(round(share * len(sizes)), largest=False, sorted=False).indices
    kept = torch.ones_like(sizes, dtype=torch.bool).index_fill_(0, smallest, value=False)
    parts = torch.split(kept, [weight.numel() for weight in weights])
    for weight, part in zip(weights, parts, strict=True):
        weight.mul_(part.view(weight.shape))


@register("prune")
@dataclass(frozen=True, kw_only=True)
class Prune(Attack):
    """Set small weights to zero; see `prune`.

    Attributes:
        share: part of the weights, in (0, 1).
        scope: over the whole model, or layer by layer.
    """

    share: float
    scope: Scope = "global"

    def apply(
        self,
        model: nn.Module,
        data: AttackData,  # noqa: ARG002 - needs none
        generator: torch.Generator,  # noqa: ARG002 - draws nothing
    ) -> nn.Module:
        """A pruned copy."""
        return prune(model, share=self.share, scope=self.scope)
