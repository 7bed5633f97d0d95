"""How triggers are trained: how many, how distorted; nothing of it is evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modeldeed.errors import OptionError
from modeldeed.suspects.answering.preparation import Prepare

__all__ = ["TriggerOptions", "TriggerTraining"]

_LEAST = {"per_batch": 1, "private_per_batch": 0, "harden_interval": 1, "harden_batch": 1}


@dataclass(frozen=True, kw_only=True)
class TriggerTraining:
    """How a model learns its triggers.

    Attributes:
        per_batch: triggers appended to every batch that the public branch gets; None for a
            sixteenth of the batch, at least 2 (the paper's number, for 200 epochs).
        private_per_batch: appended to every batch that the private branch gets; None takes
            ``per_batch`` for every step since its last turn, at most an eighth of its batch.
        distort: change every appended trigger a little, as pictures are on their way to an
            endpoint: compressed, blurred, resized, shifted; see `modeldeed.triggers.distortions`.
        harden: standard deviation of noise on the weights, relative to their size, under which
            triggers have to keep their labels; 0 for none. It makes a model keep them when it is
            trained on, for more time and perhaps some accuracy; 0.1 is a good size. See
            `modeldeed.triggers.hardening`.
        harden_interval: it is tried every so many steps.
        harden_batch: with so many triggers at a time, beside twice as many of the task's inputs.
        seed: of the order of triggers and of their distortions.

    Raises:
        OptionError: a field is out of range.

    Example:
        >>> TriggerTraining(per_batch=4).per_batch
        4
    """

    per_batch: int | None = None
    private_per_batch: int | None = None
    distort: bool = True
    harden: float = 0.0
    harden_interval: int = 4
    harden_batch: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if name.endswith("per_batch") and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise OptionError(f"{name} is a whole number of at least {least}, got {value!r}")
        if not 0 <= self.harden < 1:
            raise OptionError(
                f"harden is a part of the weights' size, in [0, 1), got {self.harden}"
            )
        seed: Any = self.seed
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise OptionError(f"seed is a whole number, got {seed!r}")

    def count(self, samples: int) -> int:
        """How many triggers go with a batch of so many samples.

        Example:
            >>> TriggerTraining().count(128), TriggerTraining(per_batch=3).count(128)
            (8, 3)
        """
        return max(2, samples // 16) if self.per_batch is None else self.per_batch

    def hardens(self, step: int) -> bool:
        """Tell whether a step tries noise on the weights."""
        return self.harden > 0 and step % self.harden_interval == 0


@dataclass(frozen=True, kw_only=True)
class TriggerOptions:
    """The triggers that a passport is issued with.

    Attributes:
        family: how they are drawn; None takes the default for the form of the host's input.
        batches: how many batches; each is opened alone.
        count: triggers of one batch; None for at least 64 and twice as many as a perfect mark
            needs.
        vocabulary: of tokens: the first ordinary number and the one after the last.
        prepare: how canonical integers become the host's input, for example
            ``Preparation(mean=..., std=...)``; None takes the example's layout and no more.
        training: how they are learned.

    Example:
        >>> TriggerOptions(batches=4).batches
        4
    """

    family: str | None = None
    batches: int = 2
    count: int | None = None
    vocabulary: tuple[int, int] | None = None
    prepare: Prepare | None = None
    training: TriggerTraining = TriggerTraining()
