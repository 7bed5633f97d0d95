"""Shrink all weights by a strong penalty, then train on without.

Source:
    M. Shafieinejad, N. Lukas, J. Wang, X. Li, F. Kerschbaum, "On the Robustness of Backdoor-based
    Watermarking in Deep Neural Networks", IH&MMSec 2021, the white-box attack: a phase of strong
    L2 regularization, then one of fine-tuning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from modeldeed.attacks._layers import copy_of, drawn_seed
from modeldeed.attacks._learning import TrainingAttack, learn, scaled
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["Regularize", "regularize"]


def regularize(model: nn.Module, data: AttackData, shrinking: Recipe, mending: Recipe) -> nn.Module:
    """Train a copy under a strong weight decay, then under an ordinary one.

    Args:
        model: not changed.
        data: labelled samples.
        shrinking: the first phase; its weight decay is the attack.
        mending: the second.

    Returns:
        The copy in evaluation mode.
    """
    changed = copy_of(model)
    for recipe in (shrinking, mending):
        learn(changed, data, recipe, lambda x, y: F.cross_entropy(changed(x), y))
    return changed


@register("regularize")
@dataclass(frozen=True, kw_only=True)
class Regularize(TrainingAttack):
    """Shrink all weights, and mend; see `regularize`.

    Attributes:
        decay: L2 penalty of the first phase.
        mend_epochs: of the second; ``epochs`` are those of the first.
    """

    source: ClassVar[str] = "Shafieinejad et al., IH&MMSec 2021"

    decay: float = 0.05
    mend_epochs: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.decay > 0 or self.mend_epochs < 1:
            raise OptionError(
                f"regularization needs decay > 0 and mend_epochs ≥ 1, got {self.decay}, "
                f"{self.mend_epochs}"
            )

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:
        """Ten, a hundred, four hundred times an ordinary penalty."""
        mend = max(1, round((recipe or Recipe()).epochs / 6))
        made = partial(scaled, cls, recipe, mend_epochs=mend)
        return {f"L2 {decay}": made(decay=decay) for decay in (0.005, 0.05, 0.2)}

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """A shrunk and mended copy."""
        shrinking = self.recipe(drawn_seed(generator), weight_decay=self.decay)
        mending = self.recipe(drawn_seed(generator), epochs=self.mend_epochs)
        return regularize(model, data, shrinking, mending)

    def steps(self, data: AttackData) -> int:
        """Optimizer steps of both phases."""
        epochs = self.epochs + self.mend_epochs
        return epochs * (len(data.dataset.y_train) // self.batch_size)
