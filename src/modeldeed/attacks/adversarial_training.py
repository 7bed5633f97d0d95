"""Train on with inputs that are changed against the model.

Source:
    I. Goodfellow, J. Shlens, C. Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR
    2015 (one step); A. Madry et al., "Towards Deep Learning Models Resistant to Adversarial
    Attacks", ICLR 2018 (several); as a removal: N. Lukas et al., S&P 2022. Half of every batch's
    loss is that of the inputs as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed.attacks._layers import copy_of, drawn_seed
from modeldeed.attacks._learning import TrainingAttack, learn, scaled
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["AdversarialTraining", "adversarial", "perturbed"]

_STRIDE = 2.5  # of all steps together, in radii, as Madry et al. have it


def perturbed(model: nn.Module, x: Tensor, y: Tensor, *, radius: float, steps: int) -> Tensor:
    """Inputs moved so that the loss rises, each number by at most a radius.

    Args:
        model: in the mode that it is to be attacked in; its gradients stay as they are.
        x: inputs, shape ``(N, *)``.
        y: labels.
        radius: the most that a number moves.
        steps: 1 for the fast gradient sign, more for projected ascent.

    Returns:
        New inputs, without a graph. They stay in the range of the given ones.
    """
    stride = radius if steps == 1 else _STRIDE * radius / steps
    low, high = x.amin(), x.amax()
    moved = x.detach().clone()
    for _ in range(steps):
        moved.requires_grad_()
        (slope,) = torch.autograd.grad(F.cross_entropy(model(moved), y), moved)
        ahead = moved.detach() + stride * slope.sign()
        moved = torch.clamp(x + (ahead - x).clamp(-radius, radius), low, high)
    return moved


def adversarial(
    model: nn.Module, data: AttackData, recipe: Recipe, *, radius: float, inner: int
) -> nn.Module:
    """Train a copy on with inputs as they are and as the copy likes them least.

    Args:
        model: not changed.
        data: labelled samples.
        recipe: how.
        radius: of `perturbed`, as a part of the range of the training inputs.
        inner: steps of `perturbed`.

    Returns:
        The copy in evaluation mode.

    Raises:
        OptionError: an argument is out of range.
    """
    if not (math.isfinite(radius) and radius > 0) or inner < 1:
        raise OptionError(f"radius is a number > 0 and inner ≥ 1, got {radius} and {inner}")
    changed = copy_of(model)
    low, high = torch.aminmax(data.dataset.x_train)
    reach = radius * float(high - low)

    def loss(x: Tensor, y: Tensor) -> Tensor:
        changed.eval()  # statistics are not to follow what is only being looked for
        against = perturbed(changed, x, y, radius=reach, steps=inner)
        changed.train()
        return (F.cross_entropy(changed(x), y) + F.cross_entropy(changed(against), y)) / 2

    return learn(changed, data, recipe, loss)


@register("adversarial-training")
@dataclass(frozen=True, kw_only=True)
class AdversarialTraining(TrainingAttack):
    """Train on against changed inputs; see `adversarial`.

    Attributes:
        radius: as a part of the inputs' range.
        inner: steps of the inner ascent; 1 is the fast gradient sign.
    """

    source: ClassVar[str] = "Goodfellow et al., ICLR 2015; Madry et al., ICLR 2018"

    radius: float = 8 / 255
    inner: int = 1

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:
        """One small step, one large, several."""
        made = partial(scaled, cls, recipe)
        return {
            "FGSM, 2/255": made(radius=2 / 255),
            "FGSM, 8/255": made(radius=8 / 255),
            "PGD-5, 8/255": made(radius=8 / 255, inner=5),
        }

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """A trained copy."""
        recipe = self.recipe(drawn_seed(generator))
        return adversarial(model, data, recipe, radius=self.radius, inner=self.inner)
