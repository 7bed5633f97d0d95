"""Deeds and what a check of one found, for a terminal."""

from __future__ import annotations

from datetime import datetime

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from modeldeed.deed.checking import DeedCheck
from modeldeed.deed.deed import Deed

__all__ = ["check_table", "deed_table"]


def deed_table(deed: Deed) -> Group:
    """What a deed says.

    Args:
        deed: its signature was verified when it was read.

    Returns:
        Something that a rich console prints.
    """
    statement = deed.statement
    facts = {
        "deed": deed.digest,
        "identity": deed.identity.fingerprint,
        "files": ", ".join(statement.files),
        "tensor root": statement.tensor_root,
        "timestamps": f"{len(deed.tokens)}, not verified here",
        "written by": f"modeldeed {statement.predicate.library}",
    }
    marks = Table("Mark", "Anchored", "Batches", "α", "Grinding", box=box.SIMPLE)
    for mark in deed.marks:
        marks.add_row(
            mark.kind,
            "no" if mark.token is None else "yes",
            str(len(mark.batches) or "–"),
            f"2^-{mark.budget.alpha_log2}",
            f"2^{mark.budget.grinding_log2}",
        )
    origins = [
        Text(
            f"Derived from {origin.tensor_root[:16]}…, "
            + ("countersigned" if origin.countersignature else "not countersigned")
        )
        for origin in statement.predicate.derived_from
    ]
    return Group(_facts(facts), Text(), marks, *origins)


def check_table(check: DeedCheck) -> Group:
    """What a check of a deed found.

    Args:
        check: of `Deed.check`.

    Returns:
        Something that a rich console prints.
    """
    headline = (
        Text("Nothing contradicts this deed.", style="bold green")
        if check.valid
        else Text("This deed does not hold.", style="bold red")
    )
    dated = check.dated
    facts = {
        "deed": check.deed,
        "identity": check.identity + (f"  ({check.owner})" if check.owner else ""),
        "dated": dated.word
        + (f": {_time(dated.earliest)} to {_time(dated.latest)}" if dated.earliest else "")
        + (f", by {', '.join(dated.authorities)}" if dated.authorities else ""),
        "marks": ", ".join(mark.kind for mark in check.marks),
        "model": check.model,
    }
    parts: list[Text | Table] = [headline, Text(), _facts(facts), Text()]
    parts += [Text(f"Problem: {problem}", style="red") for problem in check.problems]
    parts += [Text(f"Checked: {sentence}") for sentence in check.checked]
    parts += [Text(f"Not checked: {sentence}", style="yellow") for sentence in check.not_checked]
    return Group(*parts)


def _facts(facts: dict[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        table.add_row(name, Text(value, overflow="fold"))
    return table


def _time(moment: datetime | None) -> str:
    return "?" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"
