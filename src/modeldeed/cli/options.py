"""Options that several commands share, and how they are read."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from modeldeed.errors import OptionError

if TYPE_CHECKING:
    from torch import nn

    from modeldeed.owner import Owner

__all__ = [
    "Json",
    "KeyFile",
    "PassphraseFile",
    "built",
    "built_model",
    "errors",
    "imported",
    "open_owner",
    "passphrase",
    "require_weights_file",
]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
KeyFile = Annotated[Path, typer.Option("--key", help="The owner's encrypted secret file.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(help="File whose first line is the passphrase; asked for when left out."),
]


def errors() -> Console:
    """A console on standard error."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


def passphrase(file: Path | None, *, confirm: bool = False) -> str:
    """Read a passphrase from a file's first line, or ask for it on a terminal.

    Raises:
        OptionError: the file is unreadable or empty, there is no terminal to ask on, or the
            question was broken off.
    """
    if file is not None:
        try:
            lines = file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise OptionError(f"--passphrase-file {file} cannot be read: {error}") from error
        if not lines or not lines[0]:
            raise OptionError(f"--passphrase-file {file} has an empty first line")
        return lines[0]
    if not sys.stdin.isatty():
        raise OptionError("no terminal to ask for the passphrase on; give --passphrase-file")
    try:
        answer: str = typer.prompt(
            "Passphrase", hide_input=True, confirmation_prompt=confirm, err=True
        )
    except typer.Abort as error:
        # Left alone it would end in exit code 1, which says "not verified".
        raise OptionError("no passphrase was given") from error
    return answer


def open_owner(key: Path, passphrase_file: Path | None) -> Owner:
    """Open an owner's secret file."""
    from modeldeed.owner import Owner  # noqa: PLC0415 - with PyTorch, which help does without

    return Owner.load(key, passphrase(passphrase_file))


def require_weights_file(out: Path, source: Path) -> None:
    """Refuse early what would be lost or misread: the only copy, or weights under another ending.

    Raises:
        OptionError: ``out`` is the file that is read, or no ``.safetensors`` file.
    """
    if out.suffix != ".safetensors":
        raise OptionError(f"--out is a .safetensors file, got {out.name!r}")
    if out.exists() and source.exists() and out.samefile(source):
        raise OptionError(f"--out {out} is the file of --weights, which is only read; name another")


def imported(reference: str, option: str) -> Callable[..., Any]:
    """Import ``module:attribute`` of the user's own code; the working folder is searched first.

    Raises:
        OptionError: the reference is malformed or names nothing callable.
    """
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute:
        raise OptionError(
            f"{option}: {reference!r} is not of the form module:function, for example "
            "modeldeed.models:resnet18"
        )
    sys.path.insert(0, "")
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:  # whatever the user's module does when imported
        raise OptionError(f"{option}: {reference} cannot be imported: {_said(error)}") from error
    finally:
        sys.path.remove("")
    if not callable(found):
        raise OptionError(f"{option}: {reference} is a {type(found).__name__}, not a function")
    return found  # type: ignore[no-any-return]


def _said(error: BaseException) -> str:
    """What went wrong in code of the user's; a call of ``sys.exit`` tells little by itself."""
    if isinstance(error, SystemExit):
        return (
            f"it ended the program (exit code {error.code}); keep what a script does under "
            'if __name__ == "__main__":'
        )
    return f"{type(error).__name__}: {error}"


def built(reference: str, option: str) -> Any:
    """Call a function of the user's own code without arguments.

    Raises:
        OptionError: it cannot be imported, or it raises.
    """
    function = imported(reference, option)
    try:
        return function()
    except (Exception, SystemExit) as error:  # the user's function, not ours
        raise OptionError(f"{option}: {reference}() failed: {_said(error)}") from error


def built_model(reference: str, option: str) -> nn.Module:
    """Build a model with a function of the user's own code.

    Raises:
        OptionError: it cannot be imported, raises, or returns something else.
    """
    from torch import nn  # noqa: PLC0415 - seconds, which help does without

    model = built(reference, option)
    if not isinstance(model, nn.Module):
        raise OptionError(
            f"{option}: {reference}() returned a {type(model).__name__}, not a torch module"
        )
    return model
