"""``modeldeed read``: the message in a suspect's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from modeldeed.cli.exit_codes import ExitCode
from modeldeed.cli.options import Json, KeyFile, PassphraseFile, errors, open_owner
from modeldeed.passport.evidence.message_reading import MessageReading, read_message

__all__ = ["read"]


def read(
    weights: Annotated[Path, typer.Argument(help="The suspect's weights, a safetensors file.")],
    passport: Annotated[Path, typer.Option(help="Folder of the passport.")],
    key: KeyFile,
    passphrase_file: PassphraseFile = None,
    json_: Json = False,
) -> None:
    """Print the message that stands in a weights file. It reads, it does not verify.

    Exit codes: 0 message read, 1 nothing readable, 2 usage, 4 evidence invalid,
    5 suspect unreadable.
    """
    found = read_message(weights, passport=passport, owner=open_owner(key, passphrase_file))
    if json_:
        typer.echo(found.model_dump_json())
    else:
        _print(found)
    raise typer.Exit(ExitCode.OK if found.message is not None else ExitCode.NOT_VERIFIED)


def _print(found: MessageReading) -> None:
    if found.message is not None:
        Console(soft_wrap=True).print(found.message, markup=False, highlight=False, emoji=False)
    aside = errors()
    aside.print(f"{found.reason}.", markup=False)
    if found.message is not None:
        aside.print(
            f"{found.symbols_corrected} of {found.symbols} symbols were corrected; "
            f"{found.bits_flipped} of {found.bits} bits read otherwise than written."
        )
    aside.print("This reads and does not verify: see modeldeed verify.")
