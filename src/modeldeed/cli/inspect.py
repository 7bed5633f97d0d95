"""``modeldeed inspect``: what was done to a suspect since its reference was registered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from modeldeed.cli.options import Json
from modeldeed.errors import OptionError

if TYPE_CHECKING:
    from modeldeed.inspecting import Inspection, LayerFinding, Tampering

__all__ = ["inspect"]

_PIPE_WIDTH = 160
_MOST_CHANGES = 12


def inspect(
    suspect: Annotated[
        Path,
        typer.Argument(help="The suspect's weights: a safetensors file, or a checkpoint's folder."),
    ],
    deed: Annotated[
        Path | None, typer.Option(help="The deed's folder; alone it answers only for the file.")
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="The registered model; with --deed it has to be the one that it names."),
    ] = None,
    null: Annotated[
        list[Path] | None,
        typer.Option(
            help="An independent model of the same architecture, to measure what similarity chance "
            "makes; repeat for more."
        ),
    ] = None,
    json_: Json = False,
) -> None:
    """Say whether a file was altered since its deed, and what was done to each layer.

    Forensics, for people: nothing here is evidence of ownership, and no verdict uses it. No model
    code is needed and nothing of the suspect is run.

    Exit codes: 0 whatever was found, 2 usage, 4 the deed was altered or the reference is not its
    model, 5 suspect unreadable.
    """
    if deed is None and reference is None:
        raise OptionError("give --reference, the registered model; --deed, its deed; or both")
    if null and reference is None:
        raise OptionError("--null goes with --reference: without it no layer is compared")
    from modeldeed.inspecting import inspect_suspect  # noqa: PLC0415 - only this command needs it

    found = inspect_suspect(suspect, reference, deed=deed, nulls=null or ())
    if json_:
        typer.echo(found.model_dump_json())
        return
    console = Console() if Console().is_terminal else Console(width=_PIPE_WIDTH)
    console.print(_page(found))


def _page(found: Inspection) -> Group:
    parts: list[RenderableType] = [Text(f"suspect    {found.suspect}")]
    if found.reference:
        parts.append(Text(f"reference  {found.reference}"))
    parts += [Text(), *_tampering(found.tampering)]
    if found.layers:
        parts += [Text(), Text("What explains it", style="bold")]
        parts += [
            Text(f"  {way.bits_per_weight:6.2f} bits per weight: {way.words}", style=style)
            for way, style in zip(found.explanations, ("", "dim", "dim"), strict=False)
        ]
        parts += [Text(), _layers(found)]
    parts += [Text(f"Note: {note}.", style="yellow") for note in found.notes]
    parts.append(Text("Forensics, not evidence: this says how files differ, not whose they are."))
    return Group(*parts)


def _tampering(found: Tampering) -> list[RenderableType]:
    style = "red" if found.word == "other tensors" else "green"
    named = "the deed" if found.against == "deed" else "the reference"
    lines: list[RenderableType] = [
        Text.assemble((found.word.capitalize(), f"bold {style}"), f" as {named}.")
        if found.word != "other tensors"
        else Text.assemble(("Other tensors", f"bold {style}"), f" than {named}'s.")
    ]
    lines.append(Text(f"  tensor root {found.tensor_root}"))
    if found.identical is not None and found.changes:
        lines.append(Text(f"  {found.identical} tensors are identical; others:"))
    for change in found.changes[:_MOST_CHANGES]:
        size = "" if change.change is None else f", relative distance {change.change:.2g}"
        lines.append(Padding(Text(f"{change.name}: {change.what}{size}"), (0, 0, 0, 4)))
    if len(found.changes) > _MOST_CHANGES:
        rest = len(found.changes) - _MOST_CHANGES
        lines.append(Text(f"    and {rest} more; --json names all"))
    return lines


def _layers(found: Inspection) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("Layer", overflow="fold")
    table.add_column("What was done", overflow="fold")
    for heading in ("Change", "Cosine", "By chance", "Score", "Zeros"):
        table.add_column(heading, justify="right", no_wrap=True)
    for layer in found.layers:
        table.add_row(*_row(layer))
    return table


def _row(layer: LayerFinding) -> list[Text]:
    alike = layer.similarity
    cells = [layer.name, _done(layer), "" if layer.change is None else f"{layer.change:.2g}"]
    if alike is None:
        cells += ["", "", ""]
    else:
        chance = f"{alike.expected:.2f} ± {alike.spread:.2f}"
        cells += [f"{alike.cosine:.3f}", chance, f"{alike.score:.1f}"]
    cells.append(f"{layer.zeros:.0%}" if layer.word not in ("missing", "added") else "")
    return [Text(cell) for cell in cells]


def _done(layer: LayerFinding) -> str:
    if layer.word != "changed" and not layer.operations:
        return layer.word
    done = [f"{o.kind} ({o.detail})" if o.detail else o.kind for o in layer.operations]
    return "; ".join(([] if layer.word == "changed" else [layer.word]) + done)
