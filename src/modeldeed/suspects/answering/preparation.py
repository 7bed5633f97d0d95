"""From canonical samples to what a model takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import ConfigDict, JsonValue
from torch import Tensor

from modeldeed.errors import OptionError
from modeldeed.suspects.answering.batches import kind_of

__all__ = ["Inputs", "Preparation", "Prepare", "described"]

Inputs = Tensor | dict[str, Tensor]
Prepare = Callable[[Tensor], Inputs]
"""``canonical batch -> model input``, the same number of samples in the same order."""

_UNIT = 2.0**15
_CHOICES = {
    "images": ("NCHW", "NHWC"),
    "points": ("NP3", "N3P"),
    "audio": ("NL", "N1L"),
    "tokens": ("ids", "mapping"),
}


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How canonical samples become a model's input; deterministic, in float32.

    Images are divided by 255 and then, if asked for, standardized; points and audio are divided
    by 2¹⁵; tokens stay as they are.

    Args:
        mean: to subtract from each channel of an image in [0, 1]; None for nothing.
        std: to divide each channel by afterwards; goes with ``mean``.
        images: ``"NCHW"``, or ``"NHWC"`` with channels last.
        points: ``"NP3"``, or ``"N3P"`` with coordinates before points.
        audio: ``"NL"``, or ``"N1L"`` with a channel axis.
        tokens: ``"ids"`` for a tensor, or ``"mapping"`` for a dict with ``input_ids`` and an
            ``attention_mask`` of ones.

    Raises:
        OptionError: a field is out of its range.

    Example:
        >>> batch = torch.full((1, 1, 2, 2), 255, dtype=torch.uint8)
        >>> Preparation(mean=(0.5,), std=(0.25,))(batch).flatten().tolist()
        [2.0, 2.0, 2.0, 2.0]
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    images: Literal["NCHW", "NHWC"] = "NCHW"
    points: Literal["NP3", "N3P"] = "NP3"
    audio: Literal["NL", "N1L"] = "NL"
    tokens: Literal["ids", "mapping"] = "ids"

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise OptionError(
                    f"{name} is {' or '.join(map(repr, choices))}, got {getattr(self, name)!r}"
                )
        if (self.mean is None) != (self.std is None):
            raise OptionError("mean and std go together: give both or neither")
        if self.mean is None or self.std is None:
            return
        numbers = (*self.mean, *self.std)
        if len(self.mean) != len(self.std) or not self.mean:
            raise OptionError(f"mean has {len(self.mean)} channels, std {len(self.std)}")
        if not all(map(math.isfinite, numbers)) or min(self.std) <= 0:
            raise OptionError(f"mean and std are finite, std above 0; got {numbers}")

    def __call__(self, batch: Tensor) -> Inputs:
        """Prepare a canonical batch.

        Raises:
            OptionError: the batch is not canonical, or mean and std do not fit it.
        """
        kind = kind_of(batch)
        if self.mean is not None and kind != "images":
            raise OptionError(f"mean and std standardize images; these samples are {kind}")
        if kind == "images":
            return self._prepared_images(batch)
        if kind == "tokens":
            if self.tokens == "ids":
                return batch.clone()
            return {"input_ids": batch.clone(), "attention_mask": torch.ones_like(batch)}
        values = batch.to(torch.float32) / _UNIT
        if kind == "points":
            return values if self.points == "NP3" else values.transpose(1, 2).contiguous()
        return values if self.audio == "NL" else values.unsqueeze(1)

    def _prepared_images(self, batch: Tensor) -> Tensor:
        values = batch.to(torch.float32) / 255
        if self.mean is not None and self.std is not None:
            if len(self.mean) != batch.shape[1]:
                raise OptionError(
                    f"mean and std are for {len(self.mean)} channels, the images have "
                    f"{batch.shape[1]}"
                )
            mean = torch.tensor(self.mean, dtype=torch.float32)[:, None, None]
            std = torch.tensor(self.std, dtype=torch.float32)[:, None, None]
            values = (values - mean) / std
        return self.laid_out(values)

    def laid_out(self, images: Tensor) -> Tensor:
        """Images ``(N, C, H, W)`` of any dtype in the wanted layout."""
        return images if self.images == "NCHW" else images.permute(0, 2, 3, 1).contiguous()

    def description(self) -> dict[str, JsonValue]:
        """The fields for a report; decimal numbers as text, since evidence holds no floats."""
        return {
            "mean": None if self.mean is None else [repr(float(value)) for value in self.mean],
            "std": None if self.std is None else [repr(float(value)) for value in self.std],
            **{name: getattr(self, name) for name in _CHOICES},
        }


def described(prepare: Prepare) -> JsonValue:
    """What a report says about a rule of preparation: its fields, or the callable's name."""
    if isinstance(prepare, Preparation):
        return prepare.description()
    return {"callable": name_of(prepare)}


def name_of(function: Callable[..., object]) -> str:
    """Module and name of a callable, printable."""
    named = function if hasattr(function, "__qualname__") else type(function)
    name = f"{getattr(named, '__module__', '?')}.{getattr(named, '__qualname__', '?')}"
    return name if name.isprintable() else ascii(name)
