"""Triggers in a retrofit: more of them than in a training from scratch, each learned as answered.

They run apart from the task's inputs, in eval mode: so many beside them would spoil the batch
statistics, and what a judge sees is eval mode.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from modeldeed.passport.private.losses import default_loss
from modeldeed.triggers.appending import LABELS, like_inputs, with_labels
from modeldeed.triggers.hardening import loss_as_answered

if TYPE_CHECKING:
    from modeldeed.triggers.trigger_set import TriggerSet

__all__ = ["TriggerLesson"]

_PASSES = 32
_MOST = 64


class TriggerLesson:
    """The triggers' part of every step of a retrofit.

    Args:
        triggers: the set.
        steps: of the retrofit; the fewer there are, the more triggers are in each.
        batch_dim: dimension of the inputs' tensors along which samples lie.
    """

    def __init__(self, triggers: TriggerSet, steps: int, batch_dim: int = 0) -> None:
        self._triggers = triggers
        self._taken = 0
        self._dim = batch_dim
        wanted = math.ceil(_PASSES * len(triggers) / steps)
        self._count = max(triggers.training.per_batch or 2, min(wanted, _MOST))

    def loss(self, model: nn.Module, inputs: Any) -> Tensor:
        """The loss of the next triggers.

        Args:
            model: not changed.
            inputs: a batch of the task, whose form the triggers get.

        Raises:
            OptionError: the triggers do not fit the batch.
        """
        prepared, labels = self._triggers.feed.take("retrofit", self._count)
        if isinstance(inputs, Mapping) and LABELS in inputs:
            prepared = with_labels(prepared, labels)
        more = like_inputs(inputs, prepared, self._dim)
        labels = labels.to(next(model.parameters()).device)
        rule = self._triggers.training
        size = rule.harden if rule.hardens(self._taken) else 0.0
        self._taken += 1
        return loss_as_answered(
            model, more, labels, default_loss, size=size, seed=rule.seed + self._taken
        )
