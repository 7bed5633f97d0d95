"""Fine-tune by low-rank additions to the weights, and merge them.

Source:
    E. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022: W + (α/r) B A
    with A drawn and B zero at first; everything else stays as it is, but for running statistics,
    which follow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from modeldeed.attacks._layers import copy_of, drawn_seed, weights_of
from modeldeed.attacks._learning import TrainingAttack, learn, scaled
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["LowRank", "low_rank"]

_RATE = 0.003


def low_rank(
    model: nn.Module, data: AttackData, recipe: Recipe, *, rank: int, alpha: float
) -> nn.Module:
    """Train low-rank additions to all weights of a copy, and merge them into the weights.

    Args:
        model: not changed.
        data: labelled samples.
        recipe: how; no penalty acts on the additions.
        rank: r, at least 1; smaller where a weight's own sides are.
        alpha: α: the additions are scaled by α/r.

    Returns:
        The copy in evaluation mode, with tensors of the same names and shapes.

    Raises:
        OptionError: an argument is out of range, or there is no layer with a weight.
    """
    if rank < 1 or not (math.isfinite(alpha) and alpha > 0):
        raise OptionError(f"rank is at least 1 and alpha > 0, got {rank} and {alpha}")
    changed = copy_of(model)
    weights = dict(weights_of(changed))
    factors = _drawn(weights, rank, torch.Generator().manual_seed(recipe.seed))

    def whole(name: str) -> Tensor:
        down, up = factors[name]
        return weights[name].detach() + alpha / rank * (up @ down).view(weights[name].shape)

    places = _places(changed, weights)

    def loss(x: Tensor, y: Tensor) -> Tensor:
        overridden = {name: whole(name) for name in weights}
        placed = {place: overridden[name] for place, name in places.items()}
        return F.cross_entropy(functional_call(changed, placed, (x,), tie_weights=False), y)

    trained = [factor for pair in factors.values() for factor in pair]
    learn(changed, data, recipe, loss, parameters=trained)
    for parameter in changed.parameters():
        parameter.grad = None
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(whole(name))
    return changed


def _places(model: nn.Module, weights: Mapping[str, nn.Parameter]) -> dict[str, str]:
    """Every place that holds a weight, each module once → the weight's name.

    `functional_call` ties weights by names, and leaves a module that stands in two places behind
    with what it was called with.
    """
    names = {id(weight): name for name, weight in weights.items()}
    return {
        f"{path}.{attribute}" if path else attribute: names[id(held)]
        for path, module in model.named_modules()
        for attribute, held in module.named_parameters(recurse=False, remove_duplicate=False)
        if id(held) in names
    }


def _drawn(
    weights: Mapping[str, nn.Parameter], rank: int, generator: torch.Generator
) -> dict[str, tuple[nn.Parameter, nn.Parameter]]:
    """A of shape ``(r, D)`` with entries of deviation 1/√D, and B of shape ``(O, r)``, zero."""
    factors = {}
    for name, weight in weights.items():
        outputs, width = weight.flatten(1).shape
        own = min(rank, outputs, width)
        down = torch.randn(own, width, generator=generator) / math.sqrt(width)
        up = torch.zeros(outputs, own)
        factors[name] = (
            nn.Parameter(down.to(weight.device, weight.dtype)),
            nn.Parameter(up.to(weight.device, weight.dtype)),
        )
    return factors


@register("low-rank")
@dataclass(frozen=True, kw_only=True)
class LowRank(TrainingAttack):
    """Fine-tune by merged low-rank additions; see `low_rank`.

    Attributes:
        learning_rate: peak of one cycle of Adam, with which such additions are usually trained.
        rank: r.
        alpha: α.
    """

    source: ClassVar[str] = "Hu et al., ICLR 2022"

    learning_rate: float = _RATE
    rank: int = 8
    alpha: float = 16.0

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:
        """Ranks 2, 8, 32."""
        tuned = scaled(cls, recipe)
        ranks = {f"rank {rank}": (rank, 2.0 * rank) for rank in (2, 8, 32)}
        return {
            name: replace(tuned, learning_rate=_RATE, rank=rank, alpha=alpha)
            for name, (rank, alpha) in ranks.items()
        }

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """A copy with the additions merged."""
        recipe = self.recipe(drawn_seed(generator), optimizer="adam", weight_decay=0.0)
        return low_rank(model, data, recipe, rank=self.rank, alpha=self.alpha)
