"""Learn another task with a new classifier, and come back with one more.

Source:
    Y. Adi et al., "Turning Your Weakness Into a Strength", USENIX Security 2018, section 5.4
    (transfer); N. Lukas et al., S&P 2022, for whom the model has to serve its own task again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import nn

from modeldeed.attacks._learning import TrainingAttack, scaled
from modeldeed.attacks.fine_tuning import fine_tune
from modeldeed.attacks.registry import Attack, AttackData, Need, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["Transfer"]


@register("transfer")
@dataclass(frozen=True, kw_only=True)
class Transfer(TrainingAttack):
    """Train all layers on other data with a new classifier, then back on the task's.

    Attributes:
        back: epochs on the task's own data with another new classifier; 0 stays with the other.
    """

    source: ClassVar[str] = "Adi et al., USENIX Security 2018; Lukas et al., S&P 2022"
    needs: ClassVar[tuple[Need, ...]] = ("inputs", "labels", "architecture", "other data")

    back: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.back < 0:
            raise OptionError(f"back is a number of epochs ≥ 0, got {self.back}")

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:
        """A sixth, a third, all of the host's own training, and a sixth of it back."""
        back = max(1, round((recipe or Recipe()).epochs / 6))
        made = partial(scaled, cls, recipe, back=back)
        return {
            "a sixth of the training": made(epochs=1 / 6),
            "a third of the training": made(),
            "as long as the training": made(epochs=1.0),
        }

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """A model of the task again, or with ``back=0`` of the other one."""
        if data.other_data is None:
            raise OptionError("transfer needs other data: give AttackData(other_data=…)")
        away = fine_tune(
            model,
            data.other_data,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            bfloat16=self.bfloat16,
            augment=data.augment,
            new_classifier=True,
            generator=generator,
        )
        if not self.back:
            return away
        return fine_tune(
            away,
            data.dataset,
            epochs=self.back,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            bfloat16=self.bfloat16,
            augment=data.augment,
            new_classifier=True,
            generator=generator,
        )

    def inputs_seen(self, data: AttackData) -> int:
        """Of both tasks."""
        other = 0 if data.other_data is None else len(data.other_data.y_train)
        return other + (len(data.dataset.y_train) if self.back else 0)

    def steps(self, data: AttackData) -> int:
        """Optimizer steps on both tasks."""
        other = 0 if data.other_data is None else len(data.other_data.y_train)
        own = len(data.dataset.y_train)
        return self.epochs * (other // self.batch_size) + self.back * (own // self.batch_size)
