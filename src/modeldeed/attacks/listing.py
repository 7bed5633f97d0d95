"""The attacks as a table: for the command line and the documentation."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, dataclass, fields
from typing import Any

from modeldeed.attacks.registry import Attack, find, names

__all__ = ["Described", "described", "markdown"]


@dataclass(frozen=True)
class Described:
    """One attack in words.

    Attributes:
        name: how it is called.
        summary: the first line of its docstring, without what refers to code.
        source: the paper that it is from.
        needs: what it takes beside weights and code, at any of its strengths.
        unknown: what it does without.
        strengths: their names, the weakest first.
        fields: names, and values that stand when left out; None where there is none.
    """

    name: str
    summary: str
    source: str
    needs: tuple[str, ...]
    unknown: tuple[str, ...]
    strengths: tuple[str, ...]
    fields: dict[str, Any]


def described() -> list[Described]:
    """All registered attacks, in alphabetical order."""
    return [_described(find(name)) for name in names()]


def _described(kind: type[Attack]) -> Described:
    offered = kind.strengths()
    wanted = dict.fromkeys(need for attack in offered.values() for need in attack.needed())
    first = (inspect.getdoc(kind) or "").partition("\n")[0].partition(";")[0]
    return Described(
        name=kind.name,
        summary=first.rstrip(".") + ".",
        source=kind.source,
        needs=tuple(wanted) if offered else kind.needs,
        unknown=kind.unknown,
        strengths=tuple(offered),
        fields={f.name: None if f.default is MISSING else f.default for f in fields(kind)},
    )


def markdown() -> str:
    """The table that stands in the documentation."""
    head = "| Attack | What it does | Source | Needs | Strengths |\n|---|---|---|---|---|\n"
    rows = [
        f"| `{one.name}` | {one.summary} | {one.source} | {', '.join(one.needs) or '–'} | "
        f"{' · '.join(one.strengths)} |\n"
        for one in described()
    ]
    return head + "".join(rows)
