"""Suspects that know as much of the labels as a test wants them to."""

from __future__ import annotations

from collections.abc import Callable

import torch
from pydantic import JsonValue
from torch import Tensor

from modeldeed import Owner
from modeldeed.errors import SuspectError
from modeldeed.suspects.answering import Answers, Suspect
from modeldeed.triggers.trigger_set import TriggerSet

OWNER = Owner(bytes(range(32)), "Acme Vision")
STRANGER = Owner(bytes(range(1, 33)), "Somebody")
IMAGE = torch.zeros(1, 1, 8, 8)


def trigger_set(classes: int = 10, batches: int = 2, owner: Owner = OWNER) -> TriggerSet:
    return TriggerSet.issue(owner, example=IMAGE, classes=classes, batches=batches)


class Knowing(Suspect):
    """Answers the first triggers of each batch as it is told, and others with class 0.

    Args:
        triggers: whose labels it knows.
        says: from the trigger's number in its batch and its label to the answer.
        name: part of its identity.
        breaks_after: samples after which it cannot be reached.
        group_size: samples at once.
    """

    def __init__(
        self,
        triggers: TriggerSet,
        says: Callable[[int, int], int | None] = lambda _number, label: label,
        *,
        name: str = "knowing",
        breaks_after: int | None = None,
        group_size: int = 64,
    ) -> None:
        super().__init__(name, group_size)
        self.groups: list[int] = []
        self._says = says
        self._known: dict[bytes, tuple[int, int]] = {}
        self._breaks_after = breaks_after
        self.seen: list[bytes] = []
        for number in range(triggers.rule.batches):
            batch = triggers.batch(number)
            for place, (sample, label) in enumerate(
                zip(batch.inputs, batch.labels.tolist(), strict=True)
            ):
                self._known[sample.numpy().tobytes()] = (place, label)

    def description(self) -> dict[str, JsonValue]:
        return {"kind": "test", "name": self.label}

    def _answers(self, batch: Tensor) -> Answers:
        labels: list[int | None] = []
        self.groups.append(len(batch))
        for sample in batch:
            data = sample.numpy().tobytes()
            if data not in self._known:
                labels.append(0)
                continue
            if self._breaks_after is not None and len(self.seen) >= self._breaks_after:
                raise SuspectError(f"{self.label} is gone")
            self.seen.append(data)
            self.queries += 1
            labels.append(self._says(*self._known[data]))
        return Answers(tuple(labels))
