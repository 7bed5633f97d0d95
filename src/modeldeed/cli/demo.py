"""``modeldeed demo``: see the whole proof on a small model, in about a minute."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import torch
import typer
from rich.console import Console

from modeldeed.demo import DemoResult, run_demo
from modeldeed.demo.run import DEPLOYED, OWNER_KEY, PASSPHRASE_FILE, PASSPORT
from modeldeed.reporting import demo_table, require_report_extra, write_demo_report

__all__ = ["demo"]


def demo(
    out: Annotated[
        Path, typer.Option(help="Folder for the shipped weights, the passport and the report.")
    ] = Path("demo"),
    json_: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of the table.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order of samples and keys.")] = 0,
    plugin: Annotated[
        bool, typer.Option("--plugin", help="Show the plug-in beside two trained models instead.")
    ] = False,
) -> None:
    """Mark a small model, ship it, verify it, and try to spoil the proof. Needs no network.

    Exits with 0 when the shipped model verified under its owner's key and not under another's,
    else with 1.
    """
    if plugin:
        _plugin_demo(out, seed, as_json=json_)
    require_report_extra("demo")
    with _steady_arithmetic(), _progress() as progress:
        result = run_demo(out, seed=seed, progress=progress)
        progress("writing the report")
        write_demo_report(result, out)
    _show(result, out, as_json=json_)
    raise typer.Exit(0 if result.proved else 1)


def _plugin_demo(out: Path, seed: int, *, as_json: bool) -> NoReturn:
    from modeldeed.demo.plugin_run import run_plugin_demo  # noqa: PLC0415 - one of two demos
    from modeldeed.reporting.plugin_table import plugin_demo_table  # noqa: PLC0415

    with _steady_arithmetic(), _progress() as progress:
        result = run_plugin_demo(out, seed=seed, progress=progress)
    if as_json:
        typer.echo(result.model_dump_json(indent=1))
    else:
        Console(highlight=False).print(plugin_demo_table(result))
    raise typer.Exit(0 if result.proved else 1)


def _show(result: DemoResult, out: Path, *, as_json: bool) -> None:
    if as_json:
        typer.echo(result.model_dump_json(indent=1))
        return
    console = Console(highlight=False)
    console.print(demo_table(result))
    # Not wrapped: a path has to stay in one piece to be copied.
    console.print(f"The whole report: {out / 'report.html'}", soft_wrap=True, markup=False)
    console.print("To verify it yourself, under this key or another's:", markup=False)
    console.print(
        f"  {Path(sys.argv[0])} verify {out / DEPLOYED} --passport {out / PASSPORT} "
        f"--key {out / OWNER_KEY} --passphrase-file {out / PASSPHRASE_FILE}",
        soft_wrap=True,
        markup=False,
    )


@contextmanager
def _steady_arithmetic() -> Iterator[None]:
    """Arithmetic that takes as long on a busy machine as on an idle one.

    Vanishing numbers slow a processor down tenfold unless they are flushed to zero; and on layers
    this small a second thread gains little when it is free and stalls every step when it is not
    (six minutes instead of one were measured).
    """
    threads = torch.get_num_threads()
    torch.set_flush_denormal(True)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Progress on stderr: one changing line on a terminal, else a line each."""
    console = Console(stderr=True, highlight=False, markup=False)
    if not console.is_terminal:
        yield lambda text: console.print(text, soft_wrap=True)
        return
    with console.status("starting") as status:
        yield status.update
