"""The command line: thin callers of the library.

Results go to standard output, everything else to standard error. Exit codes are frozen, see
`ExitCode`.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from modeldeed._version import __version__
from modeldeed.cli.demo import demo
from modeldeed.cli.exit_codes import ExitCode, code_of
from modeldeed.cli.keys import keygen, owner_app
from modeldeed.cli.plan import plan
from modeldeed.cli.verify import verify
from modeldeed.errors import ModelDeedError

__all__ = ["ExitCode", "app", "main"]

app = typer.Typer(
    name="modeldeed",
    help="Prove who owns a neural network.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for command in (demo, keygen, plan, verify):
    app.command()(command)
app.add_typer(owner_app, name="owner")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Prove who owns a neural network."""


def main() -> None:
    """Run the command line; every failure ends in one of the frozen exit codes."""
    try:
        app()
    except (ModelDeedError, OSError) as error:
        code = code_of(error)
        label = "evidence invalid" if code is ExitCode.EVIDENCE_INVALID else "error"
        print(f"{label}: {error}", file=sys.stderr)  # noqa: T201
        raise SystemExit(code) from error
    except Exception as error:
        import traceback  # noqa: PLC0415 - only on the way down

        traceback.print_exc()
        print("error: this is a defect of modeldeed; please report it", file=sys.stderr)  # noqa: T201
        raise SystemExit(ExitCode.INTERNAL) from error
