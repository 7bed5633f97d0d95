"""``modeldeed audit``: attack copies of a model in every way, and see what is left of its marks."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from modeldeed.cli.attacking import (
    PIPE_WIDTH,
    Attacked,
    DataRoot,
    Normalize,
    OtherData,
    OtherModel,
    OtherWeights,
    Samples,
)
from modeldeed.cli.options import Json, PassphraseFile, errors, open_owner
from modeldeed.errors import OptionError
from modeldeed.trust import Trust

if TYPE_CHECKING:
    from modeldeed.audit import Audit
    from modeldeed.training import Recipe

__all__ = ["audit"]


def audit(
    model: Annotated[
        str, typer.Option(help="module:function that returns the model's architecture.")
    ],
    weights: Annotated[Path, typer.Option(help="The model's weights; they are only read.")],
    data: Annotated[str, typer.Option(help="Its task: digits, cifar10, cifar100, or a path.")],
    out: Annotated[
        Path, typer.Option(help="Folder of the audit; what stands there is not computed again.")
    ],
    passport: Annotated[
        Path | None, typer.Option(help="Folder of the passport; needs --key or a deed.")
    ] = None,
    unmarked: Annotated[
        Path | None,
        typer.Option(
            help="The weights before marking, as anchored, for aligned readings of the passport."
        ),
    ] = None,
    triggers: Annotated[
        Path | None, typer.Option(help="Folder of the trigger set, or passport with one.")
    ] = None,
    plugin: Annotated[Path | None, typer.Option(help="Folder of the plug-in.")] = None,
    carriers: Annotated[
        str | None, typer.Option(help="For a plug-in: benign data, a data set's name or path.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="The owner's encrypted secret file.")] = None,
    passphrase_file: PassphraseFile = None,
    deed: Annotated[
        Path | None, typer.Option(help="Instead of marks and key: the deed's folder.")
    ] = None,
    opening: Annotated[Path | None, typer.Option(help="With --deed: what opens it.")] = None,
    trust: Annotated[
        Path | None, typer.Option(help="Your trust file: authorities whose timestamps count.")
    ] = None,
    attack: Annotated[
        list[str] | None, typer.Option(help="Only this attack; repeat for more; all if left out.")
    ] = None,
    strengths: Annotated[
        int | None, typer.Option(min=1, help="At most so many of each attack; all if left out.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Of the attacks, such as 0,1,2.")] = "0",
    epochs: Annotated[
        int, typer.Option(min=1, help="Of the model's own training; attacks take parts of it.")
    ] = 20,
    batch_size: Annotated[int, typer.Option(min=2, help="Of the model's own training.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="Peak of the model's own training.")] = 0.1,
    data_root: DataRoot = None,
    samples: Samples = None,
    normalize: Normalize = False,
    other_data: OtherData = None,
    other_model: OtherModel = None,
    other_weights: OtherWeights = None,
    wrong_keys: Annotated[
        int, typer.Option(min=0, help="Wrong keys held against the model as it shipped.")
    ] = 999,
    processes: Annotated[int, typer.Option(min=1, help="Attacks at a time.")] = 1,
    json_: Json = False,
) -> None:
    """Attack copies of a model in every way, and read what is left of its marks.

    With --unmarked a copy whose passport cannot be read directly is aligned to the model and read
    again. Every result is kept as soon as it is there: the same command goes on where it was
    broken off.
    See the whole with modeldeed report.
    """
    from modeldeed.audit import audit as examine  # noqa: PLC0415 - training code
    from modeldeed.training import Recipe  # noqa: PLC0415

    if out.exists() and not out.is_dir():
        raise OptionError(f"--out {out} is no folder; an audit keeps a file for each result in one")
    attacked = Attacked(model, data_root, samples, normalize)
    owner = None if key is None else open_owner(key, passphrase_file)
    with _Live() as live:
        found = examine(
            attacked.loaded(weights),
            attacked.held(data, other_data, other_model, other_weights),
            passport=passport,
            unmarked=unmarked,
            triggers=triggers,
            plugin=plugin,
            carriers=_carriers(carriers, plugin, data_root),
            owner=owner,
            deed=deed,
            opening=opening,
            trust=None if trust is None else Trust.load(trust),
            attacks=attack or None,
            strengths=strengths,
            seeds=_numbers(seeds),
            recipe=_recipe(Recipe, epochs, batch_size, learning_rate),
            wrong_keys=wrong_keys,
            folder=out,
            processes=processes,
            progress=live,
        )
    _say(found, out, json_)


def _recipe(make: type[Recipe], epochs: int, batch_size: int, learning_rate: float) -> Recipe:
    return make(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)


def _carriers(name: str | None, plugin: Path | None, root: Path | None) -> Any:
    if name is None:
        return None
    if plugin is None:
        raise OptionError("--carriers go with --plugin")
    from modeldeed.data import load  # noqa: PLC0415
    from modeldeed.plugin.carriers import canonical_carriers  # noqa: PLC0415
    from modeldeed.plugin.files import load_fusion  # noqa: PLC0415

    form = load_fusion(plugin).anchor.plugin_rule.backgrounds.input
    return canonical_carriers(load(name, root).x_test, form)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(f"--seeds: {text!r} is no list of numbers like 0,1,2") from error


class _Live:
    """A bar of cells, on a terminal only."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                   TimeRemainingColumn())  # fmt: skip
        quiet = not sys.stderr.isatty()
        self._bar = Progress(*columns, console=errors(), transient=True, disable=quiet)

    def __enter__(self) -> Any:
        self._bar.start()
        task = self._bar.add_task("attacks")

        def tell(done: int, planned: int) -> None:
            self._bar.update(task, completed=done, total=planned)

        return tell

    def __exit__(self, *failure: object) -> None:
        self._bar.stop()


def _say(found: Audit, out: Path, json_: bool) -> None:
    from modeldeed.reporting import audit_words as words  # noqa: PLC0415

    named = {"model": found}
    columns = words.columns(named)
    if json_:
        table = {
            attack: {finding.kind: finding.word for finding in row}
            for attack, row in words.findings(named)
        }
        cheapest = {c.kind: words.cheapest_words(found, c.kind)[1] for c in columns}
        left_out = [left.model_dump() for left in found.plan.left_out]
        record = {
            "out": str(out),
            "cells": len(found.cells),
            "survival": table,
            "cheapest": cheapest,
            "left_out": left_out,
        }
        typer.echo(json.dumps(record))
        return
    table_ = Table(title="What survives")
    for heading in ("attack", *(column.heading for column in columns)):
        table_.add_column(heading, overflow="fold")
    for attack, row in words.findings(named):
        table_.add_row(attack, *(finding.word for finding in row))
    console = Console() if Console().is_terminal else Console(width=PIPE_WIDTH)
    console.print(table_)
    for column in columns:
        said = words.cheapest_words(found, column.kind)[1]
        typer.echo(f"{column.kind}, the cheapest attack that works: {said}")
    for left in found.plan.left_out:
        where = left.attack if left.strength is None else f"{left.attack}, {left.strength}"
        errors().print(f"left out: {where}: {left.reason}", markup=False)
    errors().print(f"{len(found.cells)} cells in {out}; see modeldeed report {out}", markup=False)
