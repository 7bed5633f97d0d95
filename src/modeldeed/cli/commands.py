"""Which commands there are, and where each is at home.

A command is imported when it is called: PyTorch, SciPy and what else they need take seconds, which
nobody should wait for who asks for the version or for help. The words below are those of the
commands' own help, which a test compares.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperGroup

__all__ = ["COMMANDS", "Home", "LazyCommands", "load", "register"]


@dataclass(frozen=True, kw_only=True)
class Home:
    """Where a command, or a group of commands, is at home.

    Args:
        module: below ``modeldeed.cli``.
        attribute: a function, or a `typer.Typer` of several.
        words: one line for the list of commands.
    """

    module: str
    attribute: str
    words: str


def _home(module: str, words: str, attribute: str | None = None) -> Home:
    return Home(module=module, attribute=attribute or module, words=words)


COMMANDS = {
    "demo": _home("demo", "Mark a small model, ship it, verify it, and try to spoil the proof."),
    "keygen": _home(
        "keys", "Draw a new owner and write its secret, encrypted, to a new file.", "keygen"
    ),
    "owner": _home("keys", "Look at an owner's public part.", "owner_app"),
    "plan": _home(
        "plan",
        "Show which normalization layers would carry a passport, and why the others would not.",
    ),
    "anchor": _home(
        "anchor",
        "Fix a mark before it exists, and have it dated: its key follows from the timestamp.",
        "anchor_app",
    ),
    "verify": _home(
        "verify",
        "Verify a claim: level 1 from the weights alone; level 2 as well with --model and --data.",
    ),
    "query": _home(
        "query", "Verify a claim by answers alone: ask keyed questions until the evidence decides."
    ),
    "plug": _home(
        "plug", "A plug-in beside any trained model: issue it, train it, fuse it.", "plug_app"
    ),
    "deed": _home(
        "deed",
        "Signed, dated evidence of whose a model is: make it, check it, open it.",
        "deed_app",
    ),
    "read": _home("read", "Print the message that stands in a weights file."),
    "inspect": _home(
        "inspect", "Say whether a file was altered since its deed, and what was done to each layer."
    ),
    "resolve": _home(
        "resolve", "Examine claims to one suspect, and say what they are to it and to each other."
    ),
    "attack": _home(
        "attack", "Attack a copy of a model, as others might, and write what is left of it."
    ),
    "audit": _home(
        "audit", "Attack copies of a model in every way, and read what is left of its marks."
    ),
    "report": _home(
        "report",
        "Report what audits found so far: the cheapest attack that works, what survives, "
        "its costs.",
    ),
}


def load(name: str) -> Any:
    """Import a command.

    Args:
        name: one of `COMMANDS`.

    Returns:
        The command, as the command-line library runs it.
    """
    home = COMMANDS[name]
    found = getattr(importlib.import_module(f"modeldeed.cli.{home.module}"), home.attribute)
    holder = typer.Typer(rich_markup_mode="rich", callback=lambda: None)
    if isinstance(found, typer.Typer):
        holder.add_typer(found, name=name)
    else:
        holder.command(name)(found)
    return typer.main.get_group(holder).commands[name]


class LazyCommands(TyperGroup):
    """A group that knows its commands by name and one line, and imports the one that is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import what the first word names, and go on as usual."""
        if args and args[0] in COMMANDS:
            self.commands[args[0]] = load(args[0])
        return super().resolve_command(ctx, args)


def register(app: typer.Typer) -> None:
    """Enter every command by name and one line; `LazyCommands` puts the real one in its place."""
    for name, home in COMMANDS.items():
        app.command(name, help=home.words)(_not_loaded)


def _not_loaded() -> None:
    """Stands for a command in the list of commands; never run."""
