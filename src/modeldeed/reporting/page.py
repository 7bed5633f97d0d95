"""The demo's report as one HTML page that needs no network and no other file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from modeldeed.data._extras import import_extra
from modeldeed.demo.result import DemoResult
from modeldeed.reporting import plots, words
from modeldeed.results import Verdict
from modeldeed.storage import write_atomically

__all__ = ["REPORT_JSON", "REPORT_PAGE", "demo_page", "require_report_extra", "write_demo_report"]

REPORT_PAGE = "report.html"
REPORT_JSON = "report.json"


def require_report_extra(extra: str = "report") -> None:
    """Fail now rather than after a minute of work.

    Args:
        extra: the extra to name; one that holds more suits a command that needs more.

    Raises:
        MissingExtraError: matplotlib or Jinja is not installed.
    """
    for module in ("matplotlib", "jinja2"):
        import_extra(module, module, extra)


def demo_page(result: DemoResult) -> str:
    """Lay the demo's result out as a page.

    Args:
        result: of `run_demo`.

    Returns:
        HTML with its style and figures inside; light or dark as the reader's system is.

    Raises:
        MissingExtraError: matplotlib or Jinja is not installed.
    """
    jinja2: Any = import_extra("jinja2", "jinja2", "report")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("modeldeed.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["chance"] = words.chance_parts
    environment.filters["powers"] = _powers
    environment.filters["unbroken"] = lambda text: text.replace(" ", "\N{NO-BREAK SPACE}")
    environment.filters["typeset"] = lambda text: text.replace("'", "’")
    page: str = environment.get_template("demo.html.j2").render(
        result=result,
        words=words,
        verified=Verdict.VERIFIED,
        figures={
            name: [_markup(draw(result, size)) for size in (plots.WIDE, plots.NARROW)]
            for name, draw in _FIGURES.items()
        },
    )
    return page


_FIGURES = {
    "accuracy": plots.accuracy_figure,
    "wrong_keys": plots.wrong_key_figure,
    "margins": plots.margin_figure,
}


def _powers(text: str) -> Any:
    """Raise what stands behind a caret, and keep each chance on one line."""
    markupsafe: Any = import_extra("markupsafe", "jinja2", "report")
    escaped = str(markupsafe.escape(text)).replace("1 in ", "1&nbsp;in&nbsp;")
    return markupsafe.Markup(re.sub(r"\^(\d+)", r"<sup>\1</sup>", escaped))


def _markup(svg: str) -> Any:
    """Exempt a figure from escaping: it is drawn here, from numbers."""
    markupsafe: Any = import_extra("markupsafe", "jinja2", "report")
    return markupsafe.Markup(svg)


def write_demo_report(result: DemoResult, out: Path) -> None:
    """Write a result as ``report.json`` and ``report.html``.

    Args:
        result: of `run_demo`.
        out: a folder; made when missing. Reports in it are replaced.

    Raises:
        MissingExtraError: matplotlib or Jinja is not installed; nothing is written then.
        OSError: the folder cannot be written.
    """
    page = demo_page(result)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / REPORT_JSON, (result.model_dump_json(indent=1) + "\n").encode())
    write_atomically(out / REPORT_PAGE, page.encode())
