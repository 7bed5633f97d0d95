"""Where the scores stand in what a target returns, and the same output with others instead."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from modeldeed.errors import OptionError

__all__ = ["Key", "ScorePlace"]

Key = str | int
"""The key, attribute name or position of an entry."""


@dataclass(frozen=True)
class ScorePlace:
    """Which part of an output is the scores ``(N, K)``.

    Args:
        path: what leads to them: a key, attribute name or position, or several, from the outside
            in; None for the output itself if it is a tensor, its ``logits``, the first entry of a
            tuple or list, or the only tensor of a mapping.
        classes: K.
    """

    path: Key | tuple[Key, ...] | None
    classes: int

    def __post_init__(self) -> None:
        keys = self.path if isinstance(self.path, tuple) else (self.path,)
        if self.path is None:
            return
        if not keys or any(isinstance(k, bool) or not isinstance(k, str | int) for k in keys):
            raise OptionError(
                "output is a key, attribute name or position, or a tuple of them, got "
                f"{self.path!r}"
            )

    def keys(self, returned: Any) -> tuple[Key, ...]:
        """What leads to the scores in this output.

        Raises:
            OptionError: nothing does.
        """
        if self.path is not None:
            return self.path if isinstance(self.path, tuple) else (self.path,)
        return _usual_keys(returned)

    def find(self, returned: Any) -> Tensor:
        """The scores in an output.

        Args:
            returned: what the target returned.

        Returns:
            Floating-point scores ``(N, K)``.

        Raises:
            OptionError: there is no such part, or it is no tensor of K scores for each sample.
        """
        part = returned
        for key in self.keys(returned):
            part = _entry(part, key)
        if not isinstance(part, Tensor):
            raise OptionError(
                f"the target's scores are a {type(part).__name__}, not a tensor; fuse with output= "
                "naming the part that holds them"
            )
        if part.dim() != 2 or part.shape[1] != self.classes or not part.is_floating_point():
            raise OptionError(
                f"the target's scores are {part.dtype} of shape {tuple(part.shape)}, expected "
                f"floating-point (N, {self.classes}); fuse with the num_classes of the target, or "
                "with output= naming the part that holds its scores"
            )
        return part

    def replaced(self, returned: Any, scores: Tensor) -> Any:
        """The same output with other scores.

        Args:
            returned: what the target returned; stays as it is.
            scores: to stand in the place of its own.

        Returns:
            An output of the same type, whose other entries are the same objects.
        """
        return _replaced(returned, self.keys(returned), scores)


def _usual_keys(returned: Any) -> tuple[Key, ...]:
    if isinstance(returned, Tensor):
        return ()
    if isinstance(returned, Mapping):
        if "logits" in returned:
            return ("logits",)
        tensors = [key for key, entry in returned.items() if isinstance(entry, Tensor)]
        if len(tensors) == 1:
            return (tensors[0],)
        raise OptionError(
            f"the target returns a mapping with {sorted(map(str, returned))}; fuse with output= "
            "naming the key of its scores"
        )
    if hasattr(returned, "logits"):
        return ("logits",)
    if isinstance(returned, tuple | list) and returned:
        return (0,)
    raise OptionError(
        f"the target returns a {type(returned).__name__}, in which no scores are found; fuse with "
        "output= naming the part that holds them"
    )


def _entry(part: Any, key: Key) -> Any:
    if isinstance(part, Mapping):
        if key in part:
            return part[key]
    elif isinstance(key, int):
        if isinstance(part, tuple | list) and -len(part) <= key < len(part):
            return part[key]
    elif hasattr(part, key):
        return getattr(part, key)
    held = f" with {sorted(map(str, part))}" if isinstance(part, Mapping) else ""
    raise OptionError(
        f"the target's output is a {type(part).__name__}{held} and has no {key!r}; fuse with "
        "another output="
    )


def _replaced(part: Any, keys: tuple[Key, ...], value: Any) -> Any:
    if not keys:
        return value
    new = _replaced(_entry(part, keys[0]), keys[1:], value)
    if isinstance(part, Mapping):
        return _mapping_with(part, keys[0], new)
    if isinstance(part, tuple | list):
        return _sequence_with(part, keys[0], new)
    changed = copy.copy(part)
    object.__setattr__(changed, str(keys[0]), new)  # a frozen dataclass refuses the usual way
    return changed


def _mapping_with(part: Any, key: Key, new: Any) -> Any:
    if type(part) is dict:
        return {**part, key: new}
    if dataclasses.is_dataclass(type(part)):  # as ModelOutput is: key and attribute are one
        entries: dict[Any, Any] = {**part, key: new}
        return type(part)(**entries)
    changed = copy.copy(part)
    changed[key] = new
    return changed


def _sequence_with(part: Any, key: Key, new: Any) -> Any:
    fields = getattr(part, "_fields", ())
    place = fields.index(key) if isinstance(key, str) else key % len(part)
    entries = [new if number == place else entry for number, entry in enumerate(part)]
    if fields:
        return type(part)(*entries)
    return entries if type(part) is list else type(part)(entries)
