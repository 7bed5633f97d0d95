"""Triggers as training takes them: in order, distorted, prepared, in the form of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

from modeldeed.suspects.answering.preparation import Inputs
from modeldeed.triggers.appending import appended, like_inputs, like_targets, with_labels
from modeldeed.triggers.distortions import distorted
from modeldeed.triggers.order import Order

if TYPE_CHECKING:
    from modeldeed.triggers.trigger_set import TriggerSet

__all__ = ["Feed", "Stream"]

Stream = Literal["public", "private", "hardening", "retrofit"]


class Feed:
    """What a model in training gets of a trigger set; each of its uses has an order of its own.

    Args:
        triggers: the set; its rule of training counts as it is at every call.

    Attributes:
        steps: losses that `TriggerSet.joint_loss` made so far.
    """

    def __init__(self, triggers: TriggerSet) -> None:
        self.steps = 0
        self._triggers = triggers
        self._orders: dict[str, Order] = {}

    def state(self) -> dict[str, int]:
        """How far it is, to be put back by `restore`."""
        positions = {name: order.position for name, order in self._orders.items()}
        return {"steps": self.steps, **positions}

    def restore(self, state: dict[str, int]) -> None:
        """Go on where another feed of the same set was."""
        positions = dict(state)
        self.steps = positions.pop("steps")
        for name, position in positions.items():
            self._order(name).position = position

    def take(self, stream: Stream, count: int) -> tuple[Inputs, Tensor]:
        """The next triggers, prepared, and their labels."""
        triggers, order = self._triggers, self._order(stream)
        generator = order.generator()
        chosen = order.take(count)
        inputs = triggers.inputs[chosen]
        if triggers.training.distort:
            inputs = distorted(inputs, triggers.rule.input, generator)
        return triggers.prepare(inputs), triggers.labels[chosen]

    def like(
        self,
        inputs: Any,
        targets: Any,
        stream: Stream,
        count: int,
        *,
        batch_dim: int = 0,
        target_dim: int = 0,
    ) -> tuple[Any, Any]:
        """The next triggers in the form of a batch.

        Raises:
            OptionError: they do not fit it.
        """
        prepared, labels = self.take(stream, count)
        if targets is None:
            return like_inputs(inputs, with_labels(prepared, labels), batch_dim), None
        wanted = like_targets(targets, labels, self._triggers.rule.classes, target_dim)
        return like_inputs(inputs, prepared, batch_dim), wanted

    def appended(
        self,
        inputs: Any,
        targets: Any,
        stream: Stream,
        count: int,
        *,
        batch_dim: int = 0,
        target_dim: int = 0,
    ) -> tuple[Any, Any]:
        """A batch with the next triggers behind it.

        Raises:
            OptionError: they do not fit it.
        """
        if count == 0:
            return inputs, targets
        more, labels = self.like(
            inputs, targets, stream, count, batch_dim=batch_dim, target_dim=target_dim
        )
        if targets is not None:
            targets = appended(targets, labels, target_dim)
        return appended(inputs, more, batch_dim), targets

    def _order(self, name: str) -> Order:
        if name not in self._orders:
            seed = self._triggers.training.seed
            self._orders[name] = Order(len(self._triggers), seed, name)
        return self._orders[name]
