"""Set weights to zero: the small ones over the whole model or of each layer, or any.

Source:
    S. Han, J. Pool, J. Tran, W. Dally, "Learning both Weights and Connections for Efficient Neural
    Networks", NeurIPS 2015; as an attack on marks: Y. Uchida et al., "Embedding Watermarks into
    Deep Neural Networks", ICMR 2017, section 4.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from modeldeed.attacks._layers import copy_of, weights_of
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["Prune", "prune"]

Scope = Literal["global", "layer", "random"]


def prune(
    model: nn.Module,
    *,
    share: float,
    scope: Scope = "global",
    generator: torch.Generator | None = None,
) -> nn.Module:
    """Set weights of a copy's convolutions, linear layers and attention to zero.

    Args:
        model: not changed.
        share: part of the weights, in (0, 1).
        scope: ``"global"`` takes the smallest of all together, ``"layer"`` those of each layer,
            so that every layer loses the same share, ``"random"`` any of each layer.
        generator: of random scope, on the CPU.

    Returns:
        The copy in evaluation mode; biases and norms stay.

    Raises:
        OptionError: an argument is out of range, or there is no such layer.
    """
    if not 0 < share < 1:
        raise OptionError(f"share is in (0, 1), got {share}")
    if scope not in ("global", "layer", "random"):
        raise OptionError(f"scope is 'global', 'layer' or 'random', got {scope!r}")
    changed = copy_of(model)
    weights: list[Tensor] = [weight.data for _, weight in weights_of(changed)]
    if scope == "random":
        if generator is None:
            raise OptionError("random scope draws: give a generator")
        for weight in weights:
            _zero_any(weight, share, generator)
        return changed
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


def _zero_any(weight: Tensor, share: float, generator: torch.Generator) -> None:
    order = torch.randperm(weight.numel(), generator=generator)[: round(share * weight.numel())]
    kept = torch.ones(weight.numel(), dtype=torch.bool).index_fill_(0, order, value=False)
    weight.mul_(kept.view(weight.shape).to(weight.device))


@register("prune")
@dataclass(frozen=True, kw_only=True)
class Prune(Attack):
    """Set weights to zero, small ones or any; see `prune`.

    Attributes:
        share: part of the weights, in (0, 1).
        scope: the smallest of the whole model or of each layer, or any of each layer.
    """

    source: ClassVar[str] = "Han et al., NeurIPS 2015; Uchida et al., ICMR 2017"

    share: float
    scope: Scope = "global"

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:  # noqa: ARG003
        """Shares of the whole model's weights, of each layer's, and of any."""
        return {
            "30 %": cls(share=0.3),
            "60 %": cls(share=0.6),
            "any 30 %": cls(share=0.3, scope="random"),
            "90 %": cls(share=0.9),
            "90 % of each layer": cls(share=0.9, scope="layer"),
            "any 60 %": cls(share=0.6, scope="random"),
        }

    def apply(
        self,
        model: nn.Module,
        data: AttackData,  # noqa: ARG002 - needs none
        generator: torch.Generator,
    ) -> nn.Module:
        """A pruned copy."""
        return prune(model, share=self.share, scope=self.scope, generator=generator)
