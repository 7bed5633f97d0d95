"""Remove the channels that sleep on clean inputs, then train on.

Source:
    K. Liu, B. Dolan-Gavitt, S. Garg, "Fine-Pruning: Defending Against Backdooring Attacks on Deep
    Neural Networks", RAID 2018: the least active channels of the last convolution are pruned, and
    what is left is fine-tuned. A network without convolutions loses channels of its last hidden
    layer instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed.attacks._channels import activations, norms_behind, silence
from modeldeed.attacks._layers import copy_of, drawn_seed, weighted_layers
from modeldeed.attacks._learning import TrainingAttack, learn, scaled
from modeldeed.attacks.registry import Attack, AttackData, Need, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["FinePrune", "last_hidden", "prune_and_learn"]


def last_hidden(model: nn.Module) -> Any:
    """The last convolution; without one, the last layer but the classifier.

    Raises:
        OptionError: there is but one layer with a weight.
    """
    layers = [layer for _, layer in weighted_layers(model)]
    if len(layers) < 2:
        raise OptionError("the model has one layer with a weight; none is hidden that could go")
    convolutions = [m for m in layers[:-1] if isinstance(m, nn.Conv1d | nn.Conv2d)]
    return convolutions[-1] if convolutions else layers[-2]


def prune_and_learn(
    model: nn.Module, channels: list[tuple[Any, Any, Tensor]], data: AttackData, recipe: Recipe
) -> nn.Module:
    """Silence channels in place and train on; they stay silent.

    Args:
        model: changed.
        channels: layers, the norms behind them or None, and the channels that go.
        data: what is learned.
        recipe: how.

    Returns:
        The model in evaluation mode.
    """
    masks = [pair for layer, norm, gone in channels for pair in silence(layer, norm, gone)]
    # Gradients, and with them momentum, stay zero where the parameter is.
    trained: list[tuple[Any, Tensor]] = [(p, mask) for p, mask in masks if p.requires_grad]
    hooks = [parameter.register_hook(partial(torch.mul, mask)) for parameter, mask in trained]
    try:
        return learn(model, data, recipe, lambda x, y: F.cross_entropy(model(x), y))
    finally:
        for hook in hooks:
            hook.remove()


@register("fine-prune")
@dataclass(frozen=True, kw_only=True)
class FinePrune(TrainingAttack):
    """Prune the channels of the last convolution that inputs excite least, and fine-tune.

    Attributes:
        share: part of its channels, in (0, 1).
    """

    source: ClassVar[str] = "Liu et al., RAID 2018"
    needs: ClassVar[tuple[Need, ...]] = ("inputs", "labels", "architecture")

    share: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share < 1:
            raise OptionError(f"share is in (0, 1), got {self.share}")

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:
        """A fifth, half, four fifths of the channels."""
        made = partial(scaled, cls, recipe)
        return {"20 %": made(share=0.2), "50 %": made(share=0.5), "80 %": made(share=0.8)}

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """A pruned and trained copy."""
        changed = copy_of(model)
        layer, x = last_hidden(changed), data.dataset.x_train
        norm = norms_behind(changed, [layer], x[:2]).get(id(layer))
        (active,) = activations(changed, [layer if norm is None else norm], x)
        count = min(round(self.share * len(layer.weight)), len(layer.weight) - 1)
        gone = active.mean(0).argsort()[:count]
        recipe = self.recipe(drawn_seed(generator))
        return prune_and_learn(changed, [(layer, norm, gone)], data, recipe)
