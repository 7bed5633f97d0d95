"""A resolution as one HTML page that needs no network and no other file."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

from modeldeed.data._extras import import_extra
from modeldeed.reporting import words
from modeldeed.resolving import sentences
from modeldeed.resolving.results import ClaimResult, MarkReading, Resolution, Step
from modeldeed.results import Verdict
from modeldeed.storage import write_atomically

__all__ = ["resolution_page", "write_resolution_page"]

_LOG10_2 = 0.30102999566398120


def resolution_page(resolution: Resolution) -> str:
    """Lay a resolution out as a page.

    Args:
        resolution: of `modeldeed.resolve`.

    Returns:
        HTML with its style inside; light or dark as the reader's system is.

    Raises:
        MissingExtraError: Jinja is not installed.
    """
    jinja2: Any = import_extra("jinja2", "jinja2", "report")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("modeldeed.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["chance"] = lambda log2_p: words.chance_parts(log2_p * _LOG10_2)
    environment.filters["unbroken"] = lambda text: text.replace(" ", "\N{NO-BREAK SPACE}")
    environment.filters["typeset"] = lambda text: text.replace("'", "’")
    # A name can be one long word of somebody else's choice.
    environment.filters["sentence"] = lambda text: text[:1].upper() + text[1:]
    page: str = environment.get_template("resolution.html.j2").render(
        resolution=resolution,
        sentences=sentences,
        good=resolution.outcome is Verdict.VERIFIED,
        verified=Verdict.VERIFIED,
        strongest=lambda claim: _strongest(resolution, claim),
        claims=sorted({cell.claim for cell in resolution.matrix}),
        models=list(dict.fromkeys((cell.kind, cell.model) for cell in resolution.matrix)),
        cells={(cell.kind, cell.model, cell.claim): cell for cell in resolution.matrix},
        steps=_by_number(resolution.steps),
    )
    return page


def _strongest(resolution: Resolution, claim: ClaimResult) -> MarkReading | None:
    """The reading of the suspect with the smallest p after payment; None without any."""
    found = [
        reading
        for cell in resolution.matrix
        if cell.claim == claim.name and cell.kind == "suspect"
        for reading in cell.readings
        if reading.log2_p is not None
    ]
    return min(found, key=lambda reading: reading.log2_p_paid or 0.0, default=None)


def _by_number(steps: tuple[Step, ...]) -> list[tuple[int, str, list[Step]]]:
    grouped = [(n, list(group)) for n, group in groupby(steps, key=lambda step: step.number)]
    return [(number, group[0].title, group) for number, group in grouped]


def write_resolution_page(resolution: Resolution, path: Path) -> None:
    """Write a resolution as an HTML file; an existing one is replaced.

    Raises:
        MissingExtraError: Jinja is not installed; nothing is written then.
        OSError: the file cannot be written.
    """
    write_atomically(path, resolution_page(resolution).encode())
