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
from modeldeed.cli.commands import LazyCommands, register
from modeldeed.cli.exit_codes import ExitCode, code_of
from modeldeed.errors import ModelDeedError

__all__ = ["ExitCode", "app", "main"]

app = typer.Typer(
    name="modeldeed",
    cls=LazyCommands,
    help="Prove who owns a neural network.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
register(app)


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
            _report_interruption()
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
        shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in _words(error))
        print(f"{label}: {shown}", file=sys.stderr)  # noqa: T201
        raise SystemExit(code) from error
    except Exception as error:
        if isinstance(error, _UsageFault):
            error.show()
            raise SystemExit(error.exit_code) from error
        _report_defect()
        raise SystemExit(ExitCode.INTERNAL) from error
    if code == ExitCode.INTERRUPTED:
        _report_interruption()
    raise SystemExit(code or ExitCode.OK)


def _words(error: Exception) -> str:
    """What is said of an error; the operating system's come without their numbers."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


@runtime_checkable
class _UsageFault(Protocol):
    """A mistake in the words of a command, as the command-line library raises it."""

    exit_code: int

    def show(self) -> None:
        """Print it with the usage."""
        ...


def _report_interruption() -> None:
    print("interrupted", file=sys.stderr)  # noqa: T201


def _report_defect() -> None:
    traceback.print_exc()
    print("error: this is a defect of modeldeed; please report it", file=sys.stderr)  # noqa: T201


def _silence_output() -> None:
    """Keep the interpreter from complaining about the closed output once more at its end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # standard output is no file at all
        return
