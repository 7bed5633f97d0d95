"""What a family is, and the families by kind of input and name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from modeldeed.anchor.trigger_rule import (
    AudioInput,
    ImageInput,
    PointInput,
    TokenInput,
    TriggerInput,
)
from modeldeed.errors import OptionError
from modeldeed.triggers.families.draws import Draws

__all__ = ["Array", "find", "names", "register"]

Array = NDArray[np.integer[Any]]
_Form = TypeVar("_Form", ImageInput, PointInput, AudioInput, TokenInput)
_Family = Callable[[Draws, _Form], Array]
_REGISTRY: dict[tuple[str, str], Callable[[Draws, Any], Array]] = {}


def register(name: str, form: type[_Form]) -> Callable[[_Family[_Form]], _Family[_Form]]:
    """Register a family.

    Args:
        name: with its version, such as ``"blocks/v1"``; unique among families for the same form.
        form: the kind of input it draws.

    Returns:
        A decorator for a function ``(draws, form) -> array``: the inputs of one trigger for each
        stream, in canonical integers. Every trigger must read equally much.

    Raises:
        OptionError: the name is taken.
    """

    def decorate(family: _Family[_Form]) -> _Family[_Form]:
        key = _kind(form), name
        if key in _REGISTRY:
            raise OptionError(f"a family {name!r} is registered already; choose another name")
        _REGISTRY[key] = family
        return family

    return decorate


def names(kind: str) -> list[str]:
    """The names of all families of a kind of input, in alphabetical order.

    Args:
        kind: ``"image"``, ``"points"``, ``"audio"`` or ``"tokens"``.
    """
    return sorted(name for known, name in _REGISTRY if known == kind)


def find(form: TriggerInput, name: str) -> Callable[[Draws, Any], Array]:
    """One family by the form of its inputs and its name.

    Raises:
        OptionError: there is none of this name for this kind of input.
    """
    if (form.kind, name) not in _REGISTRY:
        raise OptionError(
            f"no family {name!r} draws {form.kind}; there are: {', '.join(names(form.kind))}"
        )
    return _REGISTRY[form.kind, name]


def _kind(form: type[ImageInput] | type[PointInput] | type[AudioInput] | type[TokenInput]) -> str:
    return str(form.model_fields["kind"].default)
