"""The ways a carrier's content is placed on a background, by kind of input and versioned name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modeldeed.anchor.plugin_rule import BackgroundInput
from modeldeed.errors import OptionError
from modeldeed.plugin.backgrounds.placing.beside import beside
from modeldeed.plugin.backgrounds.placing.mixed import mixed
from modeldeed.plugin.backgrounds.placing.window import window
from modeldeed.triggers.families import Array

__all__ = ["default_placing", "find_placing"]

_PLACINGS: dict[str, dict[str, Callable[[Array, Array, Any], Array]]] = {
    "image": {"window/v1": window},
    "points": {"beside/v1": beside},
    "audio": {"mixed/v1": mixed},
}


def default_placing(form: BackgroundInput) -> str:
    """The name of the newest placing for a form."""
    return next(iter(_PLACINGS[form.kind]))


def find_placing(form: BackgroundInput, name: str) -> Callable[[Array, Array, Any], Array]:
    """A function ``(carriers, drawn, form) -> samples`` by its name.

    Raises:
        OptionError: there is none of this name for this form.
    """
    known = _PLACINGS[form.kind]
    if name not in known:
        raise OptionError(
            f"no placing {name!r} is known for {form.kind}; there are: {', '.join(known)}"
        )
    return known[name]
