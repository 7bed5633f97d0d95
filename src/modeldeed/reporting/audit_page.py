"""An audit as one HTML page that needs no network and no other file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modeldeed.audit.aligned import ALIGNED
from modeldeed.audit.examiners import PASSPORT
from modeldeed.audit.found import Audit
from modeldeed.data._extras import import_extra
from modeldeed.errors import OptionError
from modeldeed.reporting import audit_figures, audit_words
from modeldeed.reporting.audit_figures import NARROW, WIDE
from modeldeed.reporting.audit_words import Audits, Column
from modeldeed.reporting.audit_wrong_keys import wrong_keys_figure
from modeldeed.storage import write_atomically

__all__ = ["audit_page", "write_audit_page"]


def audit_page(audits: Audits) -> str:
    """Lay audits out as a page.

    Args:
        audits: by name, the main one first; the table of what survives has the columns of all.

    Returns:
        HTML with its style and figures inside; light or dark as the reader's system is.

    Raises:
        OptionError: there is none, or the main one has not examined the model as it shipped.
        MissingExtraError: Jinja is not installed.
    """
    if not audits or next(iter(audits.values())).shipped is None:
        raise OptionError("there is nothing to report yet: the model as it shipped comes first")
    jinja2: Any = import_extra("jinja2", "jinja2", "report")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("modeldeed.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["unbroken"] = lambda text: text.replace(" ", "\N{NO-BREAK SPACE}")
    environment.filters["typeset"] = lambda text: text.replace("'", "’")
    environment.filters["sentence"] = lambda text: text[:1].upper() + text[1:]
    main = next(iter(audits.values()))
    columns = audit_words.columns(audits)
    page: str = environment.get_template("audit.html.j2").render(
        audits=audits,
        audit=main,
        shipped=main.shipped,
        words=audit_words,
        columns=columns,
        looked_for=[column for column in columns if _looked_for(audits, column)],
        findings=audit_words.findings(audits),
        figures=_figures(audits, columns),
        wrong_keys=_wrong_keys(audits, columns),
        costs=audit_words.costs(main),
        kinds=[kind for kind in main.kinds if audit_words.examined(main, kind)],
        aligned=ALIGNED,
        limits=audit_words.LIMITS,
    )
    return page


def _looked_for(audits: Audits, column: Column) -> bool:
    return audit_words.examined(audits[column.audit], column.kind)


def _figures(audits: Audits, columns: list[Column]) -> list[dict[str, Any]]:
    """For every mark that was there: the overview, and for each attack a small one."""
    found, main = [], next(iter(audits))
    for column in columns:
        audit = audits[column.audit]
        scales = audit_figures.scales_of(audit, column.kind)
        shipped = None if audit.shipped is None else audit.shipped.reading(column.kind)
        if scales is None or shipped is None or shipped.verdict != "verified":
            continue
        drawn = [audit_figures.overview(audit, column.kind, scales, s) for s in (WIDE, NARROW)]
        small = [
            (attack, _markup(audit_figures.panel(audit, attack, column.kind, scales)))
            for attack in audit.attacks
            if column.audit == main
            and any(cell.loss is not None for cell in audit.of(attack))
            and not _as_direct(audit, attack, column.kind)
        ]
        found.append({"column": column, "drawn": [_markup(svg) for svg in drawn], "small": small})
    return found


def _as_direct(audit: Audit, attack: str, kind: str) -> bool:
    """Whether an aligned column says of an attack what the direct one says already."""
    if kind != ALIGNED:
        return False
    pairs = [(cell.reading(PASSPORT), cell.reading(kind)) for cell in audit.of(attack)]
    return all(a and b and a.log10_p == b.log10_p for a, b in pairs)


def _wrong_keys(audits: Audits, columns: list[Column]) -> list[dict[str, Any]]:
    found = []
    for column in columns:
        shipped = audits[column.audit].shipped
        reading = None if shipped is None else shipped.reading(column.kind)
        if reading is not None and reading.wrong_keys:
            drawn = [_markup(wrong_keys_figure(reading, (w, 250))) for w in (WIDE[0], NARROW[0])]
            found.append({"column": column, "reading": reading, "drawn": drawn})
    return found


def _markup(svg: str) -> Any:
    """Exempt a figure from escaping: it is drawn here, and its texts are escaped there."""
    markupsafe: Any = import_extra("markupsafe", "jinja2", "report")
    return markupsafe.Markup(svg)


def write_audit_page(audits: Audits | Audit, path: Path) -> None:
    """Write audits as an HTML file; an existing one is replaced.

    Raises:
        OptionError: there is nothing to report yet.
        MissingExtraError: Jinja is not installed; nothing is written then.
        OSError: the file cannot be written.
    """
    named = {"model": audits} if isinstance(audits, Audit) else audits
    write_atomically(path, audit_page(named).encode())
