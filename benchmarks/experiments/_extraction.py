"""A student that learns a model's outputs from scratch: distillation, and extraction by queries."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed.attacks import Attack, AttackData
from modeldeed.data import batches
from modeldeed.training import Recipe

__all__ = ["Extract"]


@dataclass(frozen=True, kw_only=True)
class Extract(Attack):
    """Train a network of the same architecture from scratch on what a model answers.

    Attributes:
        epochs: passes over the inputs.
        learning_rate: peak of one cycle of SGD.
        batch_size: samples per step.
        temperature: that scores are divided by, as distillation has it.
        hard: learn the most likely class alone, as an endpoint that returns no scores allows.

    Reference:
        G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015;
        T. Orekondy, B. Schiele, M. Fritz, "Knockoff Nets", CVPR 2019: labels of the victim for
        inputs that are not its training data.
    """

    name: ClassVar[str] = "extract"
    epochs: int
    learning_rate: float
    batch_size: int = 64
    temperature: float = 3.0
    hard: bool = False

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """The student, in evaluation mode; the data's labels are not looked at."""
        seed = int(torch.randint(2**31, (), generator=generator))
        x = data.dataset.x_train
        with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
            torch.manual_seed(seed)
            student = anew(model)
            self._train(student, model.eval(), data, torch.Generator().manual_seed(seed))
        return student.eval()

    def _train(
        self, student: nn.Module, teacher: nn.Module, data: AttackData, generator: torch.Generator
    ) -> None:
        recipe = Recipe(
            epochs=self.epochs, learning_rate=self.learning_rate, batch_size=self.batch_size
        )
        optimizer = recipe.optimizer_for(list(student.parameters()))
        x, y = data.dataset.x_train, data.dataset.y_train
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.learning_rate, total_steps=self.steps(data)
        )
        student.train()
        for _ in range(self.epochs):
            for inputs, _unused in batches(x, y, self.batch_size, generator, drop_last=True):
                seen = data.augment(inputs, generator) if data.augment else inputs
                with torch.no_grad():
                    wanted = teacher(seen)
                loss = self._loss(student(seen), wanted)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()

    def _loss(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        if self.hard:
            return F.cross_entropy(outputs, wanted.argmax(1))
        t = self.temperature
        soft = F.softmax(wanted / t, 1)
        return t * t * F.cross_entropy(outputs / t, soft)

    def steps(self, data: AttackData) -> int:
        """Optimizer steps."""
        return self.epochs * (len(data.dataset.y_train) // self.batch_size)


def anew(model: nn.Module) -> nn.Module:
    """A copy with all weights drawn anew by its layers' own rules, from torch's generator."""
    student = copy.deepcopy(model)
    for module in student.modules():
        reset = getattr(module, "reset_parameters", None)
        if reset is not None:
            reset()
    return student.requires_grad_()
