"""Re-training from scratch on the labels that a model gives, in any architecture.

Source:
    F. Tramèr et al., "Stealing Machine Learning Models via Prediction APIs", USENIX Security 2016;
    N. Lukas et al., S&P 2022: retraining, smooth retraining, cross-architecture retraining. Smooth
    retraining learns the mean of the answers to some noisy copies of every input, which wipes out
    answers that hold in a small neighborhood only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed.attacks._layers import drawn_seed
from modeldeed.attacks._learning import scaled
from modeldeed.attacks._students import Architecture, Student, frozen_teacher, likeliest, taught
from modeldeed.attacks.registry import Attack, AttackData, Need, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["CrossArchitectureRetrain", "Retrain", "SmoothRetrain"]

_PARTS = {"a third of the training": 1 / 3, "half of the training": 0.5, "all of the training": 1.0}


@register("retrain")
@dataclass(frozen=True, kw_only=True)
class Retrain(Student):
    """Train a network from scratch on the model's labels of the inputs."""

    source: ClassVar[str] = "Tramèr et al., USENIX Security 2016"

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:
        """The longer, the better the student; of the model's weights nothing is left at once."""
        return {name: scaled(cls, recipe, epochs=part) for name, part in _PARTS.items()}

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """The student; the data's labels are not looked at."""
        seed = drawn_seed(generator)
        student = self.untrained(model, data, seed)
        return taught(student, frozen_teacher(model), data, self.recipe(seed), likeliest)


@register("cross-architecture-retrain")
@dataclass(frozen=True, kw_only=True)
class CrossArchitectureRetrain(Retrain):
    """Train another architecture from scratch on the model's labels."""

    source: ClassVar[str] = "Lukas et al., S&P 2022"
    needs: ClassVar[tuple[Need, ...]] = ("inputs", "another architecture")

    architecture: Architecture = "other"

    def needed(self) -> tuple[Need, ...]:
        """Code of a second network."""
        return self.needs


@register("smooth-retrain")
@dataclass(frozen=True, kw_only=True)
class SmoothRetrain(Student):
    """Train a network from scratch on the model's mean answer around every input.

    Attributes:
        noise: deviation of the noise, in deviations of the training inputs.
        copies: noisy copies of every input.
    """

    source: ClassVar[str] = "Lukas et al., S&P 2022"

    noise: float = 0.2
    copies: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.noise > 0 or self.copies < 1:
            raise OptionError(
                f"smooth retraining needs noise > 0 and copies ≥ 1, got {self.noise}, {self.copies}"
            )

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:
        """All of the host's own training under rising noise."""
        made = partial(scaled, cls, recipe, epochs=1.0)
        return {f"noise {noise}": made(noise=noise) for noise in (0.1, 0.2, 0.5)}

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """The student; the data's labels are not looked at."""
        seed = drawn_seed(generator)
        student = self.untrained(model, data, seed)
        deviation = self.noise * float(data.dataset.x_train.std())
        drawing = torch.Generator().manual_seed(drawn_seed(generator))
        teacher = self._smoothed(frozen_teacher(model), deviation, drawing)
        # Probabilities as targets: cross entropy takes them as they are.
        return taught(student, teacher, data, self.recipe(seed), F.cross_entropy)

    def _smoothed(
        self, answers: Callable[[Tensor], Tensor], deviation: float, drawing: torch.Generator
    ) -> Callable[[Tensor], Tensor]:
        def mean(inputs: Tensor) -> Tensor:
            total = torch.zeros((), device=inputs.device)
            for _ in range(self.copies):
                noise = torch.randn(inputs.shape, generator=drawing).to(inputs)
                total = total + answers(inputs + deviation * noise).softmax(1)
            return total / self.copies

        return mean
