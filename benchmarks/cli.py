"""The command line: ``list``, ``run`` and ``tables``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from benchmarks import plots, registry, tables
from benchmarks.cards import Card, card_path, read_cards, write_card
from benchmarks.environment import ROOT
from benchmarks.registry import Experiment
from benchmarks.runner import Choices, run_experiment
from modeldeed.errors import ModelDeedError, OptionError

__all__ = ["app"]

app = typer.Typer(
    help="Experiments on marked networks, their cards and the results page.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ResultsOption = Annotated[
    Path,
    typer.Option("--results", envvar="MODELDEED_RESULTS", help="folder of the cards"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON on stdout")]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "results.md"


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """Name the experiments, what they measure, and their settings."""
    entries = registry.experiments()
    if as_json:
        typer.echo(json.dumps([_described(entry) for entry in entries]))
        return
    for entry in entries:
        typer.echo(f"{entry.name}: {entry.description}")
        for name, setting in entry.settings.items():
            seeds = ", ".join(map(str, setting.seeds))
            typer.echo(f"  {name}: {setting.description}; seeds {seeds}")
            typer.echo(f"    hosts: {', '.join(setting.hosts)}")


@app.command()
def run(
    name: Annotated[str, typer.Argument(help="an experiment, or all")],
    setting: Annotated[str, typer.Option(help="quick, standard or full")] = "quick",
    data_root: Annotated[
        Path | None,
        typer.Option(
            envvar="MODELDEED_DATA", help="folder of the data sets", exists=True, file_okay=False
        ),
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="such as 0,1,2")] = None,
    only: Annotated[str | None, typer.Option(help="hosts or globs, with commas between")] = None,
    device: Annotated[
        str, typer.Option(help="cpu, cuda, or auto: a GPU for full if there is one")
    ] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="threads of torch")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="take up no interrupted run")] = False,
    results: ResultsOption = RESULTS,
    as_json: JsonOption = False,
) -> None:
    """Run an experiment and write its card; an interrupted run is taken up where it was."""
    try:
        entries = _entries(name, setting)
        choices = Choices(
            setting=setting,
            results=results,
            data_root=data_root,
            seeds=_numbers(seeds),
            only=tuple(_parts(only)),
            device=device,
            threads=threads,
            fresh=fresh,
        )
        cards = [_run_and_write(entry, choices) for entry in entries]
    except ModelDeedError as error:
        _fail(str(error))
    _print(entries, cards, as_json=as_json, several=name == "all")


@app.command("tables")
def tables_(
    page: Annotated[Path, typer.Option(help="the results page", dir_okay=False)] = PAGE,
    check: Annotated[
        bool, typer.Option("--check", help="write nothing; exit 1 when it is out of date")
    ] = False,
    results: ResultsOption = RESULTS,
) -> None:
    """Make tables and figures of the results page, and of pages beside it, anew from the cards."""
    try:
        cards = read_cards(results)
        current = {
            place.name: tables.update_page(place, entries, cards, write=not check)
            for place, entries in tables.pages(page, registry.experiments())
        }
        drawn = [] if check else plots.update_figures(page.parent, registry.experiments(), cards)
    except ModelDeedError as error:
        _fail(str(error))
    if check and not all(current.values()):
        late = ", ".join(name for name, whole in current.items() if not whole)
        typer.echo(f"{late} is out of date: run python -m benchmarks tables", err=True)
        raise typer.Exit(1)
    for name, whole in current.items():
        typer.echo(f"{name} {'was' if whole else 'is now'} up to date", err=True)
    typer.echo(f"{len(drawn)} figures were drawn", err=True)


def _entries(name: str, setting: str) -> list[Experiment]:
    """The named experiment, or all that have the setting."""
    if name != "all":
        return [registry.find(name)]
    entries = [entry for entry in registry.experiments() if setting in entry.settings]
    if not entries:
        raise OptionError(f"no experiment has a setting {setting!r}")
    return entries


def _run_and_write(entry: Experiment, choices: Choices) -> Card:
    def say(text: str) -> None:
        typer.echo(f"{entry.name}: {text}", err=True)

    card = run_experiment(entry, choices, say)
    write_card(card, choices.results)
    say(f"card written: {card_path(choices.results, entry.name, choices.setting).name}")
    return card


def _print(entries: list[Experiment], cards: list[Card], *, as_json: bool, several: bool) -> None:
    """Print tables, or exactly one JSON object: the card, or all under ``cards``."""
    if as_json and several:
        typer.echo(json.dumps({"cards": [card.model_dump(mode="json") for card in cards]}))
        return
    for entry, card in zip(entries, cards, strict=True):
        typer.echo(card.model_dump_json() if as_json else entry.table(card))


def _described(entry: Experiment) -> dict[str, object]:
    settings = {
        name: {
            "description": setting.description,
            "hosts": setting.hosts,
            "seeds": setting.seeds,
        }
        for name, setting in entry.settings.items()
    }
    return {"name": entry.name, "description": entry.description, "settings": settings}


def _parts(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _numbers(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = _parts(text)
    if not parts or not all(part.isdecimal() for part in parts):
        raise typer.BadParameter(f"got {text!r}; give whole numbers such as 0,1,2")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _fail(message: str) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(2)
