"""``modeldeed plan``: which norms of a model would carry a passport."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from modeldeed.cli.examples import Example, InputShape, example_of
from modeldeed.cli.options import Json, built_model, errors
from modeldeed.passport import Passport, Plan
from modeldeed.passport.host.plan import PlannedNorm

__all__ = ["plan"]

_PIPE_WIDTH = 160


def plan(
    model: Annotated[str, typer.Argument(help="module:function that returns the model.")],
    input_shape: InputShape = None,
    example: Example = None,
    targets: Annotated[
        list[str] | None, typer.Option(help="Only these norms (name or glob); repeat for more.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Not these norms (name or glob); repeat for more.")
    ] = None,
    json_: Json = False,
) -> None:
    """Show which normalization layers would carry a passport, and why the others would not."""
    found = Passport.plan(
        built_model(model, "MODEL"),
        example=example_of(input_shape, example),
        targets=targets or None,
        exclude=exclude or None,
    )
    if json_:
        typer.echo(json.dumps(_as_json(found)))
    else:
        _print(found)
    found.require_usable()


def _as_json(found: Plan) -> dict[str, Any]:
    return {
        "bits": found.bits,
        "planned": [
            {
                **entry.target.model_dump(mode="json"),
                "fan": entry.target.fan,
                "bits": entry.target.bits,
                "rank": entry.rank,
                "ties": list(entry.ties),
                "calls": entry.calls,
                "frozen": entry.frozen,
            }
            for entry in found.planned
        ],
        "left_out": [
            {"norm": entry.norm, "kind": entry.kind, "reason": entry.reason}
            for entry in found.left_out
        ],
    }


def _print(found: Plan) -> None:
    table = Table(title=f"{len(found.planned)} norms carry {found.bits} signature bits")
    for heading in ("norm", "kind", "bound weight", "side"):
        table.add_column(heading, overflow="fold")
    for heading in ("C", "D", "rank", "bits"):
        table.add_column(heading, justify="right")
    for entry in found.planned:
        table.add_row(*_row(entry))
    # The table is the result: it goes to standard output in its full width even into a pipe.
    console = Console() if Console().is_terminal else Console(width=_PIPE_WIDTH)
    if found.planned:
        console.print(table)
    if found.left_out:
        console.print("Left out:")
    for left in found.left_out:
        console.print(f"  {left.norm} ({left.kind}): {left.reason}", markup=False, highlight=False)
    frozen = [entry.target.weight for entry in found.planned if entry.frozen]
    if frozen:
        errors().print(
            f"{len(frozen)} bound weights are frozen and take no bits while they are: "
            f"{', '.join(frozen[:3])}{' …' if len(frozen) > 3 else ''}. Unfreeze or exclude them."
        )
    if found.excluded:
        errors().print("Excluding norms by choice is committed to in the anchor.")


def _row(entry: PlannedNorm) -> list[str]:
    target = entry.target
    name = target.weight + (f" (= {', '.join(entry.ties)})" if entry.ties else "")
    numbers = (target.channels, target.fan, entry.rank, target.bits)
    return [target.norm, target.kind, name, target.side, *map(str, numbers)]
