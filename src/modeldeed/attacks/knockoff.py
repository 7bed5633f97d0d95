"""Knockoff nets: a student learns answers to inputs that are not the task's.

Source:
    T. Orekondy, B. Schiele, M. Fritz, "Knockoff Nets: Stealing Functionality of Black-Box Models",
    CVPR 2019: answers to a random choice of public pictures; or, without any pictures, to noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed.attacks._layers import drawn_seed
from modeldeed.attacks._learning import scaled
from modeldeed.attacks._students import Student, frozen_teacher, likeliest, taught
from modeldeed.attacks.registry import Attack, AttackData, Need, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["Knockoff", "noise_like"]

Queries = Literal["own", "other", "noise"]


def noise_like(inputs: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Inputs that hold nothing: noise with the mean and deviation of each place of some inputs.

    Args:
        inputs: whose statistics are taken, shape ``(N, *)``.
        count: how many.
        generator: of the noise, on the CPU.

    Returns:
        Shape ``(count, *)``, in the range of the inputs.
    """
    noise = torch.randn((count, *inputs.shape[1:]), generator=generator).to(inputs)
    low, high = inputs.amin(), inputs.amax()
    drawn = inputs.mean(0) + inputs.std(0, correction=0).clamp_min(1e-3) * noise
    return torch.clamp(drawn, low, high)


@register("knockoff")
@dataclass(frozen=True, kw_only=True)
class Knockoff(Student):
    """Train a network from scratch on answers to a random choice of inputs.

    Attributes:
        queries: from ``"own"`` inputs of the task, ``"other"`` data, or ``"noise"``, of which the
            statistics of the task's inputs must be known.
        budget: how many inputs the model is asked about; None for as many as there are.
        hard: learn the likeliest class alone.
    """

    source: ClassVar[str] = "Orekondy et al., CVPR 2019"

    queries: Queries = "own"
    budget: int | None = None
    hard: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.queries not in get_args(Queries):
            raise OptionError(f"queries are 'own', 'other' or 'noise', got {self.queries!r}")
        if self.budget is not None and self.budget < self.batch_size:
            raise OptionError(
                f"budget {self.budget} is less than a batch of {self.batch_size}; ask more"
            )

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:
        """All of the host's own training on noise, on other data, on the task's inputs."""
        made = partial(scaled, cls, recipe, epochs=1.0)
        return {
            "noise": made(queries="noise"),
            "other data, hard": made(queries="other", hard=True),
            "other data": made(queries="other"),
            "own inputs": made(),
        }

    def needed(self) -> tuple[Need, ...]:
        """Other data where they are asked about."""
        needed = super().needed()
        return ("other data", *(n for n in needed if n != "inputs")) if self._other else needed

    @property
    def _other(self) -> bool:
        return self.queries == "other"

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """The student; labels are not looked at."""
        seed = drawn_seed(generator)
        student = self.untrained(model, data, seed)
        asked = self._asked(data, generator)
        labels = torch.zeros(len(asked), dtype=torch.int64, device=asked.device)
        pool = replace(data, dataset=replace(data.dataset, x_train=asked, y_train=labels))
        lesson = likeliest if self.hard else _soft
        return taught(student, frozen_teacher(model), pool, self.recipe(seed), lesson)

    def _asked(self, data: AttackData, generator: torch.Generator) -> Tensor:
        if self._other and data.other_data is None:
            raise OptionError("knockoff needs other data: give AttackData(other_data=…)")
        pool = data.other_data if self._other and data.other_data else data.dataset
        count = self.inputs_seen(data)
        if self.queries == "noise":
            return noise_like(data.dataset.x_train, count, generator)
        order = torch.randperm(len(pool.y_train), generator=generator)[:count]
        return pool.x_train[order.to(pool.x_train.device)]

    def inputs_seen(self, data: AttackData) -> int:
        """As many as are asked about."""
        pool = data.other_data if self._other and data.other_data else data.dataset
        there = len(pool.y_train)
        if self.queries == "noise" and self.budget is not None:
            return self.budget
        return there if self.budget is None else min(self.budget, there)

    def steps(self, data: AttackData) -> int:
        """Optimizer steps."""
        return self.epochs * (self.inputs_seen(data) // self.batch_size)


def _soft(outputs: Tensor, wanted: Tensor) -> Tensor:
    return F.cross_entropy(outputs, wanted.softmax(1))
