"""The command line: thin callers of the library.

Results go to standard output, everything else to standard error. Exit codes are frozen, see
`ExitCode`.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated, Protocol, runtime_checkable

import typer

from modeldeed._version import __version__
from modeldeed.cli.anchor import anchor_app
from modeldeed.cli.attack import attack
from modeldeed.cli.audit import audit
from modeldeed.cli.deed import deed_app
from modeldeed.cli.demo import demo
from modeldeed.cli.exit_codes import ExitCode, code_of
from modeldeed.cli.inspect import inspect
from modeldeed.cli.keys import keygen, owner_app
from modeldeed.cli.plan import plan
from modeldeed.cli.plug import plug_app
from modeldeed.cli.query import query
from modeldeed.cli.read import read
from modeldeed.cli.report import report
from modeldeed.cli.resolve import resolve
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
for command in (attack, audit, demo, inspect, keygen, plan, query, read, report, resolve, verify):
    app.command()(command)
app.add_typer(anchor_app, name="anchor")
app.add_typer(deed_app, name="deed")
app.add_typer(owner_app, name="owner")
app.add_typer(plug_app, name="plug")


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
    """Run the command line; every failure ends in one of the frozen exit codes.

    The command-line library would end some failures with 1, which here means "not verified".
    """
    try:
        code = app(standalone_mode=False)
    except typer.Abort as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            raise SystemExit(ExitCode.INTERRUPTED) from error
        _report_defect()
        raise SystemExit(ExitCode.INTERNAL) from error
    except SystemExit as error:  # whoever read our output went away
        _silence_output()
        raise SystemExit(ExitCode.OUTPUT_CLOSED) from error
    except (ModelDeedError, OSError) as error:
        code = code_of(error)
        label = "evidence invalid" if code is ExitCode.EVIDENCE_INVALID else "error"
        # Names out of files of others may hold escape codes; what is shown holds none.
        shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(error))
        print(f"{label}: {shown}", file=sys.stderr)  # noqa: T201
        raise SystemExit(code) from error
    except Exception as error:
        if isinstance(error, _UsageFault):
            error.show()
            raise SystemExit(error.exit_code) from error
        _report_defect()
        raise SystemExit(ExitCode.INTERNAL) from error
    raise SystemExit(code or ExitCode.OK)


@runtime_checkable
class _UsageFault(Protocol):
    """A mistake in the words of a command, as the command-line library raises it."""

    exit_code: int

    def show(self) -> None:
        """Print it with the usage."""
        ...


def _report_defect() -> None:
    traceback.print_exc()
    print("error: this is a defect of modeldeed; please report it", file=sys.stderr)  # noqa: T201


def _silence_output() -> None:
    """Keep the interpreter from complaining about the closed output once more at its end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # standard output is no file at all
        return
