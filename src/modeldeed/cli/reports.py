"""Showing a report, alike in all commands that make one."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console

from modeldeed.cli.exit_codes import ExitCode, code_of_verdict
from modeldeed.reporting.report_tables import report_table
from modeldeed.results import Report

__all__ = ["TRANSCRIPTS", "shown"]

TRANSCRIPTS = Path("transcripts")
"""Where examinations by answers are recorded, below the working folder."""


def shown(report: Report, *, json_: bool) -> ExitCode:
    """Print a report on standard output.

    Args:
        report: what was found.
        json_: as one JSON object instead of a table.

    Returns:
        The exit code of its verdict.
    """
    if json_:
        typer.echo(report.model_dump_json())
    else:
        Console().print(report_table(report))
    return code_of_verdict(report.verdict)
