"""Train on with smoothed labels.

Source:
    C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016,
    section 7; as a removal: N. Lukas et al., "SoK: How Robust is Image Classification Deep Neural
    Network Watermarking?", S&P 2022.
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

__all__ = ["LabelSmoothing", "smooth_labels"]


def smooth_labels(
    model: nn.Module, data: AttackData, recipe: Recipe, *, smoothing: float
) -> nn.Module:
    """Train a copy on with a part of every label spread over all classes.

    Args:
        model: not changed.
        data: labelled samples.
        recipe: how.
        smoothing: that part, in (0, 1).

    Returns:
        The copy in evaluation mode.

    Raises:
        OptionError: ``smoothing`` is out of range.
    """
    if not 0 < smoothing < 1:
        raise OptionError(f"smoothing is in (0, 1), got {smoothing}")
    changed = copy_of(model)
    return learn(
        changed,
        data,
        recipe,
        lambda x, y: F.cross_entropy(changed(x), y, label_smoothing=smoothing),
    )


@register("label-smoothing")
@dataclass(frozen=True, kw_only=True)
class LabelSmoothing(TrainingAttack):
    """Train on with smoothed labels; see `smooth_labels`.

    Attributes:
        smoothing: part of a label that is spread.
    """

    source: ClassVar[str] = "Szegedy et al., CVPR 2016; Lukas et al., S&P 2022"

    smoothing: float = 0.3

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:
        """A tenth, a third, two thirds of a label."""
        made = partial(scaled, cls, recipe)
        return {
            "10 %": made(smoothing=0.1),
            "30 %": made(smoothing=0.3),
            "60 %": made(smoothing=0.6),
        }

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """A trained copy."""
        recipe = self.recipe(drawn_seed(generator))
        return smooth_labels(model, data, recipe, smoothing=self.smoothing)
