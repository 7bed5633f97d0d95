"""Shift every filter against the mean of its layer's filters, add noise, and train on.

Source:
    N. Lukas, E. Jiang, X. Li, F. Kerschbaum, "SoK: How Robust is Image Classification Deep Neural
    Network Watermarking?", S&P 2022, and its toolbox: w ← w − λ·mean(w) − λ₂·noise, with the mean
    over a convolution's filters and noise of the weight's own deviation, then fine-tuning. Here
    linear layers are shifted as well, but not the last, which holds the classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from modeldeed.attacks._layers import copy_of, drawn_seed, weights_of
from modeldeed.attacks._learning import TrainingAttack, learn, scaled
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["WeightShift", "shift_weights"]


def shift_weights(
    model: nn.Module, *, shift: float, noise: float, generator: torch.Generator
) -> nn.Module:
    """Shift the filters of all weights of a copy but the last.

    Args:
        model: not changed.
        shift: λ, how often the mean filter is taken off, ≥ 0.
        noise: λ₂, deviation of the noise in deviations of the weight, ≥ 0.
        generator: of the noise, on the CPU.

    Returns:
        The copy in evaluation mode.

    Raises:
        OptionError: an argument is out of range, or there is no layer with a weight.
    """
    for name, value in (("shift", shift), ("noise", noise)):
        if not (math.isfinite(value) and value >= 0):
            raise OptionError(f"{name} is a finite number ≥ 0, got {value}")
    changed = copy_of(model)
    for _, weight in weights_of(changed)[:-1]:
        drawn = torch.randn(weight.shape, generator=generator).to(weight)
        moved = shift * weight.data.mean(0) + noise * weight.data.std(correction=0) * drawn
        weight.data.sub_(moved)
    return changed


@register("weight-shift")
@dataclass(frozen=True, kw_only=True)
class WeightShift(TrainingAttack):
    """Shift filters against their mean, and fine-tune; see `shift_weights`.

    Attributes:
        shift: λ.
        noise: λ₂.
    """

    source: ClassVar[str] = "Lukas et al., S&P 2022"

    shift: float = 1.5
    noise: float = 1.0

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:
        """The toolbox's own values are the strongest."""
        made = partial(scaled, cls, recipe)
        return {
            "λ 0.5, noise 0.1": made(shift=0.5, noise=0.1),
            "λ 1, noise 0.3": made(shift=1.0, noise=0.3),
            "λ 1.5, noise 1": made(shift=1.5, noise=1.0),
        }

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """A shifted and trained copy."""
        changed = shift_weights(model, shift=self.shift, noise=self.noise, generator=generator)
        recipe = self.recipe(drawn_seed(generator))
        return learn(changed, data, recipe, lambda x, y: F.cross_entropy(changed(x), y))
