"""How a detector is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modeldeed.errors import OptionError

__all__ = ["DetectorTraining", "Progress"]

Progress = Callable[[int, int], None]
"""Told after every step: steps done, all steps."""

_LEAST = {"steps": 1, "batch_size": 8, "samples": 2, "other_keys": 4}


@dataclass(frozen=True, kw_only=True)
class DetectorTraining:
    """How a detector learns its backgrounds, and silence about everything else.

    Attributes:
        steps: of the optimizer; None for 2,000, or twice as many where every carrier gets a
            background of its own.
        batch_size: samples of a step, half of them on the owner's backgrounds.
        learning_rate: the peak of one cycle of AdamW.
        weight_decay: of AdamW.
        samples: of each background, placed and changed once and used again; None for 64, more
            where there are fewer than 32 backgrounds, and twice as many where every carrier gets
            its own.
        other_keys: keys with 168 backgrounds each that the detector learns to ignore; half as many
            more for the threshold, and a quarter for the report.
        weaken: up to this part of the weights is missing in every other step, the smallest first;
            sometimes they are rounded instead. It makes the detector stand pruning; 0 for never.
        benign_rate: held-out benign samples, changed as in training, that may activate it when the
            threshold is set.
        other_rate: other keys' samples, and look-alikes, that may.
        seed: of everything that is drawn.

    Raises:
        OptionError: a field is out of range.

    Example:
        >>> DetectorTraining(steps=100).batch_size
        512
    """

    steps: int | None = None
    batch_size: int = 512
    learning_rate: float = 1e-2
    weight_decay: float = 0.1
    samples: int | None = None
    other_keys: int = 60
    weaken: float = 0.8
    benign_rate: float = 5e-4
    other_rate: float = 4e-3
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is None and name in ("steps", "samples"):
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise OptionError(f"{name} is a whole number of at least {least}, got {value!r}")
        for name in ("weaken", "benign_rate", "other_rate"):
            if not 0 <= getattr(self, name) < 1:
                raise OptionError(f"{name} is a part, in [0, 1), got {getattr(self, name)!r}")
        if not self.learning_rate > 0 or not self.weight_decay >= 0:
            raise OptionError(
                "learning_rate must be above 0 and weight_decay at least 0, got "
                f"{self.learning_rate} and {self.weight_decay}"
            )
        seed: Any = self.seed
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise OptionError(f"seed is a whole number, got {seed!r}")
