"""A resolution as tables for a terminal."""

from __future__ import annotations

from itertools import groupby

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from modeldeed.reporting.report_tables import STYLES
from modeldeed.reporting.words import chance
from modeldeed.resolving.results import ClaimResult, Resolution, Step, StepStatus
from modeldeed.resolving.sentences import (
    cell_words,
    dated_words,
    headline,
    owner_words,
    reading_words,
    weightiest_first,
)

__all__ = ["resolution_table"]

_LOG10_2 = 0.30102999566398120
_MARKS = {
    StepStatus.DONE: "",
    StepStatus.FAILED: "failed: ",
    StepStatus.SKIPPED: "skipped: ",
    StepStatus.UNAVAILABLE: "unavailable: ",
}


def resolution_table(resolution: Resolution, *, steps: bool = True) -> Group:
    """What a judge found: the relations, every claim, the cross matrix, and the steps.

    Args:
        resolution: of `modeldeed.resolve`.
        steps: show all twenty steps.

    Returns:
        Something that a rich console prints.
    """
    style = f"bold {STYLES[resolution.outcome]}"
    parts: list[RenderableType] = [
        Text(headline(resolution), style="bold"),
        Text.assemble((resolution.outcome.value.capitalize(), style), f": {resolution.reason}."),
        Text(),
        Text(f"suspect  {resolution.suspect}  (digest {resolution.suspect_digest[:16]}…)"),
        Text(f"         {dated_words(resolution.suspect_dated)}"),
    ]
    for claim in resolution.claims:
        parts += [Text(), *_claim(resolution, claim)]
    parts += [Text(), _relations(resolution), Text(), _matrix(resolution)]
    if resolution.others:
        parts += [Text(), _others(resolution)]
    if steps:
        parts += [Text(), _steps(resolution)]
    parts += [Text(f"Warning: {warning}.", style="yellow") for warning in resolution.warnings]
    return Group(*parts)


def _claim(resolution: Resolution, claim: ClaimResult) -> list[RenderableType]:
    lines: list[RenderableType] = [
        Text.assemble(
            (claim.name, "bold"), ": ", (claim.verdict.value, f"bold {STYLES[claim.verdict]}"),
            f": {claim.reason}.",
        )
    ]  # fmt: skip
    facts = [f"owner: {owner_words(claim)}", f"deed: {dated_words(claim.dated)}"]
    for cell in resolution.matrix:
        if cell.claim == claim.name and cell.kind == "suspect":
            for reading in cell.readings:
                facts.append(reading_words(reading))
                if reading.log2_p is not None and reading.log2_p_paid is not None:
                    facts[-1] += (
                        f"; by luck {chance(reading.log2_p * _LOG10_2)}, log2 p "
                        f"{reading.log2_p:.1f}, after payment {reading.log2_p_paid:.1f}"
                    )
    lines += [Padding(Text(fact), (0, 0, 0, 2)) for fact in facts]
    lines += [
        Padding(Text(f"Warning: {warning}.", style="yellow"), (0, 0, 0, 2))
        for warning in claim.warnings
    ]
    return lines


def _relations(resolution: Resolution) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("Claims", overflow="fold")
    table.add_column("Relation", overflow="fold")
    table.add_column("Why", overflow="fold")
    for found in weightiest_first(resolution.relations):
        table.add_row(Text(", ".join(found.claims)), Text(found.words), Text(found.reason))
    return table


def _matrix(resolution: Resolution) -> Table:
    """Whose mark is in which model; one row for each model, so that it stays narrow."""
    claims = sorted({cell.claim for cell in resolution.matrix})
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("Read directly in", overflow="fold")
    for claim in claims:
        table.add_column(Text(f"mark of {claim}"), overflow="fold")
    models = list(dict.fromkeys((cell.kind, cell.model) for cell in resolution.matrix))
    cells = {(cell.kind, cell.model, cell.claim): cell for cell in resolution.matrix}
    for kind, model in models:
        shown = [cells.get((kind, model, claim)) for claim in claims]
        name = model if kind == "suspect" else f"{kind} {model}"
        table.add_row(Text(name), *(Text("" if c is None else cell_words(c)) for c in shown))
    return table


def _others(resolution: Resolution) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("Other models", overflow="fold")
    table.add_column("What")
    table.add_column("Dated", overflow="fold")
    for other in resolution.others:
        table.add_row(Text(other.name), other.kind, Text(dated_words(other.dated)))
    return table


def _steps(resolution: Resolution) -> Group:
    parts: list[RenderableType] = [Text("What was done", style="bold")]
    for number, group in groupby(resolution.steps, key=lambda step: step.number):
        found = list(group)
        parts.append(Text(f"{number:>2}  {found[0].title}"))
        parts += [Padding(_step(step), (0, 0, 0, 4)) for step in found]
    return Group(*parts)


def _step(step: Step) -> Text:
    style = {StepStatus.FAILED: "red", StepStatus.UNAVAILABLE: "yellow"}.get(step.status, "dim")
    whose = f"{step.claim}: " if step.claim else ""
    return Text(f"{whose}{_MARKS[step.status]}{step.note}", style=style)
