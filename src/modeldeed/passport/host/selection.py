"""Choosing norms by name, glob, regular expression or predicate."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from modeldeed.errors import OptionError

__all__ = ["Selector", "selected"]

Selector = str | re.Pattern[str] | Callable[[str, nn.Module], bool]
"""A name or glob, a compiled regex, or a predicate on (name, layer)."""


def selected(
    norms: Mapping[str, nn.Module],
    targets: Selector | Iterable[Selector] | None,
    exclude: Selector | Iterable[Selector] | None,
) -> set[str]:
    """The names of the chosen norms.

    Args:
        norms: all norms of a host by name.
        targets: only these; None for all.
        exclude: not these.

    Raises:
        OptionError: a name or pattern fits no norm, or is none.
    """
    included = set(norms) if targets is None else _matching(norms, targets, "targets")
    return included - (set() if exclude is None else _matching(norms, exclude, "exclude"))


def _matching(
    norms: Mapping[str, nn.Module], selectors: Selector | Iterable[Selector], option: str
) -> set[str]:
    single = isinstance(selectors, str | re.Pattern) or callable(selectors)
    found: set[str] = set()
    for selector in [selectors] if single else selectors:  # type: ignore[union-attr]
        matches = {name for name, norm in norms.items() if _fits(selector, name, norm)}
        if not matches and isinstance(selector, str | re.Pattern):
            shown = selector if isinstance(selector, str) else selector.pattern
            raise OptionError(
                f"{option}: {shown!r} fits none of the host's {len(norms)} norms "
                f"({', '.join(list(norms)[:6])}{' …' if len(norms) > 6 else ''})"
            )
        found |= matches
    return found


def _fits(selector: Any, name: str, norm: nn.Module) -> bool:
    if isinstance(selector, str):
        return fnmatchcase(name, selector)
    if isinstance(selector, re.Pattern):
        return selector.fullmatch(name) is not None
    return bool(selector(name, norm))
