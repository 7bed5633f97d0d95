"""Turn every row of a network away from what it was, while the task keeps its accuracy.

The strongest removal without the key that we know of: train on with a penalty on cos²(wᵢ, w⁰ᵢ) of
every row with its own beginning. What a mark put into a row fades with that cosine, whatever the
mark looks like. It needs all the data, and about half of the original training.

Source:
    This project.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed.attacks._layers import copy_of, drawn_seed, weights_of
from modeldeed.attacks._learning import TrainingAttack, learn, scaled
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.data import Dataset
from modeldeed.errors import OptionError
from modeldeed.training import Augment, Recipe

__all__ = ["TurnAway", "decorrelated"]


def decorrelated(
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    penalty: float,
    augment: Augment | None = None,
) -> nn.Module:
    """Train a copy on, away from its own rows.

    Args:
        model: not changed.
        dataset: what it is trained with.
        recipe: how.
        penalty: weight of the mean cos² over all rows of convolutions, linear layers, attention.
        augment: applied to every batch.

    Returns:
        The copy in evaluation mode.

    Raises:
        OptionError: ``penalty`` is out of range, or there is no layer with a weight.
    """
    if not (math.isfinite(penalty) and penalty >= 0):
        raise OptionError(f"penalty is a finite number ≥ 0, got {penalty}")
    changed = copy_of(model)
    weights = [weight for _, weight in weights_of(changed)]
    before = [weight.detach().clone() for weight in weights]

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(changed(x), y) + penalty * _mean_square_cosine(weights, before)

    return learn(changed, AttackData(dataset, augment), recipe, loss)


def _mean_square_cosine(weights: Sequence[Tensor], before: Sequence[Tensor]) -> Tensor:
    cosines = [
        F.cosine_similarity(now.flatten(1), then.flatten(1))
        for now, then in zip(weights, before, strict=True)
    ]
    return torch.cat(cosines).square().mean()


@register("turn-away")
@dataclass(frozen=True, kw_only=True)
class TurnAway(TrainingAttack):
    """Train on, away from the rows as they were; see `decorrelated`.

    Attributes:
        penalty: on the mean cos².
    """

    source: ClassVar[str] = "This project"

    penalty: float = 10.0

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:
        """Half of the host's own training at rising penalties."""
        made = partial(scaled, cls, recipe, epochs=0.5)
        return {
            "penalty 1": made(penalty=1.0),
            "penalty 10": made(penalty=10.0),
            "penalty 100": made(penalty=100.0),
        }

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """A trained copy."""
        recipe = self.recipe(drawn_seed(generator))
        return decorrelated(model, data.dataset, recipe, penalty=self.penalty, augment=data.augment)
