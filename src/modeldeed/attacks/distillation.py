"""Distillation: a student learns a model's outputs from scratch.

Source:
    G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015; across
    architectures and with labels alone it is the extraction of F. Tramèr et al., "Stealing Machine
    Learning Models via Prediction APIs", USENIX Security 2016.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed.attacks._layers import drawn_seed
from modeldeed.attacks._learning import scaled
from modeldeed.attacks._students import Student, frozen_teacher, likeliest, taught
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["Distill"]


@register("distill")
@dataclass(frozen=True, kw_only=True)
class Distill(Student):
    """Train a network from scratch on what a model answers.

    Attributes:
        temperature: that scores are divided by.
        hard: learn the most likely class alone, as an endpoint that returns no scores allows.
    """

    source: ClassVar[str] = "Hinton et al., 2015; Tramèr et al., USENIX Security 2016"

    temperature: float = 3.0
    hard: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.temperature > 0:
            raise OptionError(f"temperature is > 0, got {self.temperature}")

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:
        """Half of the host's own training, then all of it; what is kept of the model falls."""
        long = partial(scaled, cls, recipe, epochs=1.0)
        return {
            "soft, half of the training": scaled(cls, recipe, epochs=0.5),
            "soft": long(),
            "hard": long(hard=True),
            "soft, another architecture": long(architecture="other"),
        }

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """The student, in evaluation mode; the data's labels are not looked at."""
        seed = drawn_seed(generator)
        student = self.untrained(model, data, seed)
        lesson = likeliest if self.hard else self._soft
        return taught(student, frozen_teacher(model), data, self.recipe(seed), lesson)

    def _soft(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        t = self.temperature
        return t * t * F.cross_entropy(outputs / t, F.softmax(wanted / t, 1))
