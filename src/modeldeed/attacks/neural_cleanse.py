"""Neural Cleanse: search for triggers, then unlearn them, or prune the channels that they excite.

Source:
    B. Wang et al., "Neural Cleanse: Identifying and Mitigating Backdoor Attacks in Neural
    Networks", S&P 2019, sections IV (search) and VI (pruning, unlearning).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import nn

from modeldeed.attacks._channels import activations, norms_behind, silence
from modeldeed.attacks._layers import copy_of, drawn_seed
from modeldeed.attacks._learning import TrainingAttack, learn, scaled
from modeldeed.attacks._trigger_search import (
    FoundTrigger,
    find_triggers,
    stamped,
    unlearning_loss,
)
from modeldeed.attacks.fine_pruning import last_hidden
from modeldeed.attacks.registry import Attack, AttackData, Need, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["NeuralCleanse"]

_STAMPED = 0.2  # of a batch

Way = Literal["unlearn", "prune"]


@register("neural-cleanse")
@dataclass(frozen=True, kw_only=True)
class NeuralCleanse(TrainingAttack):
    """Search for the trigger of every class, and remove the suspicious ones.

    Suspicious are those that are smaller than chance allows; the smallest if none is.

    Attributes:
        way: ``"unlearn"``: train on with them on a fifth of every batch, under the inputs' own
            labels; ``"prune"``: silence the channels of the last hidden layer that they excite
            most, without training.
        search_steps: of Adam, for each class.
        penalty: on a trigger's size.
        share: of the channels that are silenced, in (0, 1).
        samples: inputs that are searched on.
    """

    source: ClassVar[str] = "Wang et al., S&P 2019"
    needs: ClassVar[tuple[Need, ...]] = ("inputs", "labels", "architecture")

    way: Way = "unlearn"
    search_steps: int = 100
    penalty: float = 2.0
    share: float = 0.1
    samples: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.way not in get_args(Way):
            raise OptionError(f"way is 'unlearn' or 'prune', got {self.way!r}")
        if not 0 < self.share < 1 or self.search_steps < 1 or self.samples < 2:
            raise OptionError(
                "the search needs share in (0, 1), search_steps ≥ 1 and samples ≥ 2, got "
                f"{self.share}, {self.search_steps}, {self.samples}"
            )

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:
        """Pruning a tenth, a third of the last hidden layer; unlearning."""
        return {
            "pruned 10 %": scaled(cls, recipe, way="prune", share=0.1),
            "pruned 30 %": scaled(cls, recipe, way="prune", share=0.3),
            "unlearned": scaled(cls, recipe),
            "unlearned, long": scaled(cls, recipe, epochs=1.0, search_steps=300),
        }

    def needed(self) -> tuple[Need, ...]:
        """Labels for unlearning, the last hidden layer for pruning."""
        return ("inputs", "labels") if self.way == "unlearn" else ("inputs", "architecture")

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """A cleansed copy."""
        changed = copy_of(model)
        found = find_triggers(
            changed,
            data.dataset.x_train[: self.samples],
            data.dataset.num_classes,
            steps=self.search_steps,
            penalty=self.penalty,
            generator=generator,
        )
        suspicious = [trigger for trigger in found if trigger.outlier] or found[:1]
        if self.way == "prune":
            return self._pruned(changed, suspicious, data)
        recipe = self.recipe(drawn_seed(generator))
        return learn(changed, data, recipe, unlearning_loss(changed, suspicious, _STAMPED))

    def _pruned(
        self, model: nn.Module, triggers: list[FoundTrigger], data: AttackData
    ) -> nn.Module:
        layer, x = last_hidden(model), data.dataset.x_train[: self.samples]
        norm = norms_behind(model, [layer], x[:2]).get(id(layer))
        watched = [layer if norm is None else norm]
        (clean,) = activations(model, watched, x)
        marked = [activations(model, watched, stamped(x, trigger))[0] for trigger in triggers]
        excess = torch.stack([found.mean(0) for found in marked]).amax(0) - clean.mean(0)
        count = max(1, min(round(self.share * len(layer.weight)), len(layer.weight) - 1))
        silence(layer, norm, excess.argsort(descending=True)[:count])
        return model

    def inputs_seen(self, data: AttackData) -> int:
        """All where it trains."""
        given = len(data.dataset.y_train)
        return given if self.way == "unlearn" else min(self.samples, given)

    def steps(self, data: AttackData) -> int:
        """Of the search, and of unlearning."""
        search = data.dataset.num_classes * self.search_steps
        return search + (super().steps(data) if self.way == "unlearn" else 0)
