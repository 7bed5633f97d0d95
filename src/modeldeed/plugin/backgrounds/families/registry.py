"""What a family of backgrounds is, and the families by kind of input and name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modeldeed.anchor.plugin_rule import BackgroundInput
from modeldeed.errors import OptionError
from modeldeed.triggers.families import Array, Draws

__all__ = ["Family", "find", "names", "register"]


@dataclass(frozen=True, kw_only=True)
class Family:
    """A way in which backgrounds follow from their keys.

    Attributes:
        of_key: ``(draws, form) -> array`` of one entry for each stream: what the key alone
            decides. Every background must read equally much.
        of_carrier: ``(decided, draws, form) -> array``: one background for each sample, from what
            its key decided, ``(N, ...)``, and N streams that follow from key and carrier. None:
            what the key decides is the background, the same under every carrier.
    """

    of_key: Callable[[Draws, Any], Array]
    of_carrier: Callable[[Array, Draws, Any], Array] | None = None


_REGISTRY: dict[tuple[str, str], Family] = {}


def register(form: str, name: str, family: Family) -> None:
    """Give a family its name.

    Args:
        form: the kind of input: ``"image"``, ``"points"`` or ``"audio"``.
        name: with its version, such as ``"layers/v1"``; unique among those for the same form.
        family: how they are drawn, in integers alone.

    Raises:
        OptionError: the name is taken.
    """
    if (form, name) in _REGISTRY:
        raise OptionError(f"backgrounds {name!r} are registered already; choose another name")
    _REGISTRY[form, name] = family


def names(form: str, *, generated: bool) -> list[str]:
    """The names of the families of one kind, in alphabetical order.

    Args:
        form: the kind of input.
        generated: those drawn anew for every carrier, or those that are always the same.
    """
    return sorted(
        name
        for (known, name), family in _REGISTRY.items()
        if known == form and (family.of_carrier is not None) == generated
    )


def find(form: BackgroundInput, name: str, *, generated: bool) -> Family:
    """One family by form, name and kind.

    Raises:
        OptionError: there is none of this name for this form and kind.
    """
    known = names(form.kind, generated=generated)
    if name not in known:
        kind = "generated" if generated else "fixed"
        raise OptionError(
            f"no family {name!r} draws {kind} backgrounds of {form.kind}; "
            f"there are: {', '.join(known)}"
        )
    return _REGISTRY[form.kind, name]
