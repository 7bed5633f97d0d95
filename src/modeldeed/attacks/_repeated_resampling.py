"""Resample, fine-tune, and again: what the resampling attacks have in common."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from modeldeed.attacks.fine_tuning import fine_tune
from modeldeed.attacks.registry import Attack, AttackData, Need
from modeldeed.errors import OptionError

__all__ = ["RepeatedResampling"]


@dataclass(frozen=True, kw_only=True)
class RepeatedResampling(Attack):
    """A way of resampling, repeated, with fine-tuning after each pass.

    Attributes:
        passes: how often.
        samples: unlabelled training inputs that are looked at.
        epochs: of fine-tuning after each pass; 0 for none.
        learning_rate: the fine-tuning's peak.
        batch_size: samples per step.
        bfloat16: fine-tune under autocast to bfloat16.

    Raises:
        OptionError: a field is out of range.
    """

    source: ClassVar[str] = "This project"
    needs: ClassVar[tuple[Need, ...]] = ("inputs",)

    passes: int = 1
    samples: int = 140
    epochs: int = 0
    learning_rate: float = 0.1
    batch_size: int = 64
    bfloat16: bool = False

    def __post_init__(self) -> None:
        if self.passes < 1 or self.samples < 2 or self.epochs < 0:
            raise OptionError(
                "resampling needs passes ≥ 1, samples ≥ 2 and epochs ≥ 0, got "
                f"{self.passes}, {self.samples}, {self.epochs}"
            )

    @abstractmethod
    def once(self, model: nn.Module, calibration: Tensor, generator: torch.Generator) -> nn.Module:
        """One pass without fine-tuning.

        Args:
            model: not changed.
            calibration: unlabelled inputs, shape ``(N, *)``.
            generator: of every random choice, on the CPU.
        """

    def needed(self) -> tuple[Need, ...]:
        """Labels as well where it fine-tunes."""
        return ("inputs", "labels") if self.epochs else self.needs

    def inputs_seen(self, data: AttackData) -> int:
        """All where it fine-tunes."""
        given = len(data.dataset.y_train)
        return given if self.epochs else min(self.samples, given)

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """A changed copy, after all passes."""
        calibration = data.dataset.x_train[: self.samples]
        for _ in range(self.passes):
            model = self.once(model, calibration, generator)
            if self.epochs:
                model = fine_tune(
                    model,
                    data.dataset,
                    epochs=self.epochs,
                    learning_rate=self.learning_rate,
                    batch_size=self.batch_size,
                    bfloat16=self.bfloat16,
                    augment=data.augment,
                    generator=generator,
                )
        return model

    def steps(self, data: AttackData) -> int:
        """Optimizer steps of all passes."""
        return self.passes * self.epochs * (len(data.dataset.y_train) // self.batch_size)
