"""One training loop for all attacks that train, and the fields that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from modeldeed.attacks.registry import Attack, AttackData, Need
from modeldeed.data import batches
from modeldeed.training import Recipe

__all__ = ["Loss", "TrainingAttack", "learn", "scaled"]

Loss = Callable[[Tensor, Tensor], Tensor]
"""From a batch's inputs and labels to a scalar."""

_SGD_RATE = 0.01  # in place of a rate that was meant for another optimizer


def learn(
    model: nn.Module,
    data: AttackData,
    recipe: Recipe,
    loss: Loss,
    *,
    parameters: Iterable[nn.Parameter] | None = None,
    after_step: Callable[[int], None] | None = None,
) -> nn.Module:
    """Train a model in place, and leave it in evaluation mode.

    Args:
        model: trained, on the data's device.
        data: what is learned; its augmentation is applied.
        recipe: how; its seed is that of the order, of augmentation and of dropout.
        loss: of a batch.
        parameters: what is trained; None for all of the model's.
        after_step: called with the number of steps so far.

    Returns:
        The model.

    Raises:
        DataError: the training part is smaller than a batch.
    """
    x, y = data.dataset.x_train, data.dataset.y_train
    generator = torch.Generator().manual_seed(recipe.seed)
    trained = list(model.parameters() if parameters is None else parameters)
    optimizer = recipe.optimizer_for(trained)
    total = max(1, recipe.epochs * (len(y) // recipe.batch_size))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=total
    )
    done = 0
    with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        torch.manual_seed(recipe.seed)  # dropout draws from the global generator
        model.train()
        for _ in range(recipe.epochs):
            for inputs, labels in batches(x, y, recipe.batch_size, generator, drop_last=True):
                seen = data.augment(inputs, generator) if data.augment else inputs
                with torch.autocast(x.device.type, torch.bfloat16, enabled=recipe.bfloat16):
                    found = loss(seen, labels)
                optimizer.zero_grad(set_to_none=True)
                found.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                done += 1
                if after_step:
                    after_step(done)
    optimizer.zero_grad(set_to_none=True)
    return model.eval()


@dataclass(frozen=True, kw_only=True)
class TrainingAttack(Attack):
    """An attack that trains.

    Attributes:
        epochs: passes over the training part.
        learning_rate: peak of one cycle of SGD with Nesterov momentum.
        batch_size: samples per step; a last smaller batch is left out.
        bfloat16: train under autocast to bfloat16.

    Raises:
        OptionError: a field is out of range.
    """

    needs: ClassVar[tuple[Need, ...]] = ("inputs", "labels")

    epochs: int = 5
    learning_rate: float = 0.01
    batch_size: int = 64
    bfloat16: bool = False

    def __post_init__(self) -> None:
        self.recipe(0)

    def recipe(self, seed: int, **changes: Any) -> Recipe:
        """The fields as a recipe."""
        own = {
            "epochs": self.epochs,
            "learning_rate": self.learning_rate,
            "batch_size": self.batch_size,
            "bfloat16": self.bfloat16,
        }
        return Recipe(**{**own, **changes}, seed=seed)

    def steps(self, data: AttackData) -> int:
        """Optimizer steps."""
        return self.epochs * (len(data.dataset.y_train) // self.batch_size)


_Training = TypeVar("_Training", bound=Attack)


def scaled(
    kind: type[_Training],
    recipe: Recipe | None,
    *,
    epochs: float = 1 / 3,
    rate: float = 1.0,
    **changes: Any,
) -> _Training:
    """An attack that trains, in parts of the host's own training.

    Args:
        kind: which.
        recipe: of the host's training; None for the defaults of a recipe.
        epochs: share of its epochs, at least one.
        rate: share of its peak rate.
        **changes: other fields.
    """
    own = recipe or Recipe()
    peak = own.learning_rate if own.optimizer == "sgd" else _SGD_RATE
    make: Callable[..., _Training] = kind
    return make(
        epochs=max(1, round(epochs * own.epochs)),
        learning_rate=rate * peak,
        batch_size=own.batch_size,
        bfloat16=own.bfloat16,
        **changes,
    )
