"""Neural laundering: search for triggers, silence whatever they excite anywhere, and train on.

Source:
    W. Aiken, H. Kim, S. Woo, J. Ryoo, "Neural Network Laundering: Removing Black-Box Backdoor
    Watermarks from Deep Neural Networks", Computers & Security 2021: reconstruction as in Neural
    Cleanse; channels of all layers that differ by more than a threshold between stamped and clean
    inputs are reset; then re-training with stamped inputs under their own labels. Here the
    threshold is in standard deviations of the channel over clean inputs, one for all layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from modeldeed.attacks._channels import activations, norms_behind, silence
from modeldeed.attacks._layers import copy_of, drawn_seed, weighted_layers
from modeldeed.attacks._learning import TrainingAttack, learn, scaled
from modeldeed.attacks._trigger_search import FoundTrigger, find_triggers, stamped, unlearning_loss
from modeldeed.attacks.registry import Attack, AttackData, Need, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["Launder"]

_STAMPED = 0.2  # of a batch
_MOST = 0.5  # of a layer's channels


@register("launder")
@dataclass(frozen=True, kw_only=True)
class Launder(TrainingAttack):
    """Reset what found triggers excite in any layer, and train on with them.

    Attributes:
        threshold: in standard deviations of a channel over clean inputs. Of no layer more than
            half of the channels are reset.
        search_steps: of Adam, for each class.
        penalty: on a trigger's size.
        samples: inputs that are searched on.
    """

    source: ClassVar[str] = "Aiken et al., Computers & Security 2021"
    needs: ClassVar[tuple[Need, ...]] = ("inputs", "labels", "architecture")

    threshold: float = 2.0
    search_steps: int = 100
    penalty: float = 2.0
    samples: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.threshold > 0 or self.search_steps < 1 or self.samples < 2:
            raise OptionError(
                "laundering needs threshold > 0, search_steps ≥ 1 and samples ≥ 2, got "
                f"{self.threshold}, {self.search_steps}, {self.samples}"
            )

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:
        """Channels that differ by four, two, one deviations."""
        made = partial(scaled, cls, recipe)
        return {f"over {bound:g} σ": made(threshold=bound) for bound in (4.0, 2.0, 1.0)}

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """A laundered copy."""
        changed = copy_of(model)
        x = data.dataset.x_train[: self.samples]
        found = find_triggers(
            changed,
            x,
            data.dataset.num_classes,
            steps=self.search_steps,
            penalty=self.penalty,
            generator=generator,
        )
        suspicious = [trigger for trigger in found if trigger.outlier] or found[:1]
        for layer, norm, channels in self._excited(changed, suspicious, x):
            silence(layer, norm, channels)
        recipe = self.recipe(drawn_seed(generator))
        return learn(changed, data, recipe, unlearning_loss(changed, suspicious, _STAMPED))

    def _excited(
        self, model: nn.Module, triggers: list[FoundTrigger], x: Tensor
    ) -> list[tuple[Any, Any, Tensor]]:
        """Layers, the norms behind them, and channels that differ, but of the classifier."""
        layers = [layer for _, layer in weighted_layers(model)][:-1]
        behind = norms_behind(model, layers, x[:2])
        watched = [behind.get(id(layer), layer) for layer in layers]
        clean = activations(model, watched, x)
        marked = [activations(model, watched, stamped(x, trigger)) for trigger in triggers]
        chosen = []
        for index, (layer, rest) in enumerate(zip(layers, clean, strict=True)):
            if not rest.numel():
                continue
            excess = torch.stack([m[index].mean(0) for m in marked]).amax(0) - rest.mean(0)
            relative = excess / rest.std(0).clamp_min(1e-6)
            order = relative.argsort(descending=True)[: max(1, int(_MOST * len(relative)))]
            chosen.append((layer, behind.get(id(layer)), order[relative[order] > self.threshold]))
        return chosen

    def steps(self, data: AttackData) -> int:
        """Of the search and of the training."""
        return data.dataset.num_classes * self.search_steps + super().steps(data)
