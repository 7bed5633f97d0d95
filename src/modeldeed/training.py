"""A plain training loop for the demo, the benchmarks and the examples.

It is an iterator over epochs, so two runs can be interleaved in one process (`side_by_side`) and
their times compared fairly. With a passport, the one difference is the line that computes the loss.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed.data import Dataset, batches
from modeldeed.errors import OptionError
from modeldeed.passport import Passport
from modeldeed.triggers.trigger_set import TriggerSet

__all__ = ["Augment", "Epoch", "Recipe", "accuracy", "side_by_side", "train"]

Augment = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train, apart from model and data.

    Attributes:
        epochs: passes over the training set.
        batch_size: samples per step; a last smaller batch is left out.
        optimizer: ``"sgd"`` with Nesterov momentum 0.9, or ``"adam"``; both under one cycle.
        learning_rate: the cycle's peak.
        weight_decay: L2 penalty.
        seed: of the order of samples and of augmentation.
        bfloat16: run under autocast to bfloat16.

    Raises:
        OptionError: a field is out of range.
    """

    epochs: int = 20
    batch_size: int = 64
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    seed: int = 0
    bfloat16: bool = False

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2 or self.learning_rate <= 0:
            raise OptionError(
                "a recipe needs epochs ≥ 1, batch_size ≥ 2 and learning_rate > 0, got "
                f"{self.epochs}, {self.batch_size}, {self.learning_rate}"
            )

    def optimizer_for(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer over some parameters."""
        if self.optimizer == "adam":
            return torch.optim.Adam(
                parameters, lr=self.learning_rate, weight_decay=self.weight_decay
            )
        return torch.optim.SGD(
            parameters,
            lr=self.learning_rate,
            momentum=0.9,
            nesterov=True,
            weight_decay=self.weight_decay,
        )


@dataclass(frozen=True)
class Epoch:
    """What one epoch took.

    Attributes:
        number: from 1.
        seconds: wall time of its training steps.
        loss: mean of the steps' losses.
    """

    number: int
    seconds: float
    loss: float


def train(
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    passport: Passport | None = None,
    triggers: TriggerSet | None = None,
    augment: Augment | None = None,
) -> Iterator[Epoch]:
    """Train a model, with its marks if they are given.

    Args:
        model: trained in place, on its device.
        dataset: on the same device.
        recipe: how.
        passport: the model's passport, with the triggers that it was issued with; None trains
            without.
        triggers: a trigger set of its own; None trains without.
        augment: ``(inputs, generator) -> inputs``, applied to every batch.

    Yields:
        One `Epoch` after each; the model is then in train mode.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    own = list(passport.parameters()) if passport else []
    optimizer = recipe.optimizer_for([*model.parameters(), *own])
    steps = len(dataset.y_train) // recipe.batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.epochs * steps
    )
    device = dataset.x_train.device.type
    for number in range(1, recipe.epochs + 1):
        model.train()
        total = torch.zeros((), device=dataset.x_train.device)
        start = time.perf_counter()
        for x, y in batches(
            dataset.x_train, dataset.y_train, recipe.batch_size, generator, drop_last=True
        ):
            inputs = augment(x, generator) if augment else x
            with torch.autocast(device, torch.bfloat16, enabled=recipe.bfloat16):
                loss = _loss(model, inputs, y, passport, triggers)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += loss.detach()
        # Reading the loss waits for an accelerator, so the time is honest there too.
        mean = float(total) / steps
        yield Epoch(number, time.perf_counter() - start, mean)


def _loss(
    model: nn.Module, x: Tensor, y: Tensor, passport: Passport | None, triggers: TriggerSet | None
) -> Tensor:
    if passport:
        return passport.joint_loss(x, y, triggers=triggers or True)
    if triggers:
        return triggers.joint_loss(model, x, y)
    return F.cross_entropy(model(x), y)


def side_by_side(plain: Iterator[Epoch], marked: Iterator[Epoch]) -> Iterator[tuple[Epoch, Epoch]]:
    """Advance two runs epoch by epoch, so that both meet the same load of the machine.

    They take turns at going first, which keeps a slow drift out of the ratio of their times.

    Args:
        plain: a run of `train`.
        marked: another of as many epochs.

    Yields:
        The epochs of both.
    """
    swap = False
    while True:
        try:
            second = next(marked) if swap else None
            first = next(plain)
            yield first, second if second is not None else next(marked)
        except StopIteration:
            return
        swap = not swap


def accuracy(
    predict: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, batch_size: int = 512
) -> float:
    """The share of inputs whose largest output is their label.

    Args:
        predict: inputs ``(B, *)`` → outputs ``(B, K)``; set its mode beforehand.
        x: inputs.
        y: labels, int64 ``(N,)``.
        batch_size: inputs at a time.

    Returns:
        Accuracy in [0, 1].
    """
    hits = 0
    with torch.no_grad():
        for inputs, labels in batches(x, y, batch_size, None):
            hits += int((predict(inputs).argmax(1) == labels).sum())
    return hits / len(y)
