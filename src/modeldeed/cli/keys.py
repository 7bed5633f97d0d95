"""``modeldeed keygen`` and ``modeldeed owner``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from modeldeed.cli.options import Json, PassphraseFile, errors, open_owner, passphrase

__all__ = ["keygen", "owner_app"]

owner_app = typer.Typer(help="Look at an owner's public part.", no_args_is_help=True)


def keygen(
    path: Annotated[Path, typer.Argument(help="New file for the encrypted secret.")],
    name: Annotated[str, typer.Option(help="A name for people; it proves nothing.")] = "",
    passphrase_file: PassphraseFile = None,
) -> None:
    """Draw a new owner and write its secret, encrypted, to a new file."""
    from modeldeed.owner import Owner  # noqa: PLC0415 - with PyTorch, which help does without

    owner = Owner.generate(name)
    owner.save(path, passphrase(passphrase_file, confirm=True))
    typer.echo(owner.identity.fingerprint)
    errors().print(
        f"The secret is in {path}. Whoever has it and the passphrase is the owner: "
        "keep a copy offline."
    )


@owner_app.callback()
def _owner() -> None:
    """Look at an owner's public part."""


@owner_app.command("show")
def show(
    path: Annotated[Path, typer.Argument(help="The owner's encrypted secret file.")],
    passphrase_file: PassphraseFile = None,
    json_: Json = False,
) -> None:
    """Show the public part of an owner: name, public key, fingerprint. Never the secret."""
    owner = open_owner(path, passphrase_file)
    public = {
        "name": owner.name,
        "public_key": owner.identity.public_key.hex(),
        "fingerprint": owner.identity.fingerprint,
    }
    if json_:
        typer.echo(json.dumps(public))
    else:
        for field, value in public.items():
            typer.echo(f"{field.replace('_', ' '):12} {value}")
