"""Where the samples stand in a call of the target."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from modeldeed.errors import OptionError

__all__ = ["InputPlace", "positional_names"]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def positional_names(target: nn.Module) -> tuple[str, ...]:
    """The names by which a module's forward knows its positional arguments; may be none."""
    try:
        parameters = inspect.signature(target.forward).parameters.values()
    except (TypeError, ValueError):  # compiled code may have no signature
        return ()
    return tuple(p.name for p in parameters if p.kind in _POSITIONAL)


@dataclass(frozen=True)
class InputPlace:
    """Which argument of a call holds the samples.

    Args:
        name: of an argument, or of an entry of a mapping that is an argument; or a position; None
            for the first positional argument, or else the only tensor, or the only floating-point
            one, among the keyword arguments.
        names: of the target's positional parameters, in order.
    """

    name: str | int | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.name, bool) or not isinstance(self.name, str | int | None):
            raise OptionError(
                f"input is the name or the position of an argument, got {self.name!r}"
            )
        if isinstance(self.name, int) and self.name < 0:
            raise OptionError(f"input is a position from 0 on, got {self.name}")

    def find(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
        """The samples in a call.

        Args:
            args: of the call.
            kwargs: of the call.

        Returns:
            The tensor itself.

        Raises:
            OptionError: the call has no such argument, or several tensors may be meant.
        """
        if self.name is None:
            return _tensor_in(args[0] if args else kwargs, "the call")
        return _tensor_in(self._named(self.name, args, kwargs), f"input={self.name!r}")

    def _named(self, name: str | int, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if isinstance(name, int):
            if name < len(args):
                return args[name]
        elif name in kwargs:
            return kwargs[name]
        elif name in self.names[: len(args)]:
            return args[self.names.index(name)]
        else:
            for value in (*args, *kwargs.values()):
                if isinstance(value, Mapping) and name in value:
                    return value[name]
        raise OptionError(
            f"the call has no argument {name!r}: {len(args)} positional ones and "
            f"{sorted(kwargs)}; pass it, or fuse with another input="
        )


def _tensor_in(value: Any, where: str) -> Tensor:
    """A tensor, or the only one that may hold samples in a mapping or sequence."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, Mapping):
        entries = dict(value.items())
    elif isinstance(value, tuple | list):
        entries = {str(number): entry for number, entry in enumerate(value)}
    else:
        raise OptionError(
            f"{where} holds a {type(value).__name__}, not the samples; fuse with input= naming "
            "the argument that holds them"
        )
    tensors = {name: entry for name, entry in entries.items() if isinstance(entry, Tensor)}
    if len(tensors) > 1:
        floats = {name: entry for name, entry in tensors.items() if entry.is_floating_point()}
        tensors = floats or tensors
    if len(tensors) != 1:
        raise OptionError(
            f"{where} holds {len(tensors)} tensors that may be the samples "
            f"({', '.join(tensors) or 'none'}); fuse with input= naming the right one"
        )
    return next(iter(tensors.values()))
