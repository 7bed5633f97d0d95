"""``modeldeed report``: an audit as a page, and as tables for texts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modeldeed.cli.options import errors
from modeldeed.errors import OptionError
from modeldeed.storage import write_atomically

if TYPE_CHECKING:
    from modeldeed.audit import Audit

__all__ = ["report"]


def report(
    folder: Annotated[
        list[str],
        typer.Argument(help="Of an audit; more of them stand beside it, each as NAME=FOLDER."),
    ],
    html: Annotated[
        Path | None, typer.Option(help="Write a page that needs no network and no other file.")
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables as Markdown.")] = None,
    latex: Annotated[Path | None, typer.Option(help="Write the tables for LaTeX.")] = None,
) -> None:
    """Report what audits found so far: the cheapest attack that works, what survives, its costs.

    Without an option the Markdown goes to standard output. An audit that is still running can be
    reported; what is missing is said.
    """
    from modeldeed.reporting.audit_text import audit_latex, audit_markdown  # noqa: PLC0415

    audits = _audits(folder)
    lacking = [name for name, audit in audits.items() if audit.shipped is None]
    if lacking:
        raise OptionError(f"{lacking[0]} holds no results yet: the model as it shipped comes first")
    for name, audit in audits.items():
        if audit.missing:
            errors().print(f"{name}: {audit.missing} cells are still to be computed", markup=False)
    if html is not None:
        from modeldeed.reporting.audit_page import write_audit_page  # noqa: PLC0415 - needs Jinja

        write_audit_page(audits, html)
    if markdown is not None:
        write_atomically(markdown, audit_markdown(audits).encode())
    if latex is not None:
        write_atomically(latex, audit_latex(audits).encode())
    if html is None and markdown is None and latex is None:
        typer.echo(audit_markdown(audits), nl=False)
    for path in filter(None, (html, markdown, latex)):
        errors().print(f"{path} is written", markup=False)


def _audits(folders: list[str]) -> dict[str, Audit]:
    from modeldeed.audit import Audit  # noqa: PLC0415 - training code

    found: dict[str, Audit] = {}
    for given in folders:
        name, equals, path = given.partition("=")
        if not equals:
            name, path = Path(given).name or given, given
        if name in found:
            raise OptionError(f"two audits are called {name!r}: give them as NAME=FOLDER")
        found[name] = Audit.load(path)
    return found
