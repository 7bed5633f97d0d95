"""The figures of an audit: plain SVG in the colors of the page that they stand in.

Nothing is drawn that is not in the cells; every point says what it is when it is pointed at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from modeldeed.audit.findings import BUDGET
from modeldeed.audit.found import Audit
from modeldeed.audit.records import Cell, MarkReading
from modeldeed.reporting import audit_words as words

__all__ = ["NARROW", "WIDE", "Scales", "overview", "panel", "scales_of"]

WIDE, NARROW = (740, 400), (370, 340)
"""Width and height for a desk and for a phone: scaling one drawing would scale its letters."""
_PANEL = (220, 132)


@dataclass(frozen=True)
class Scales:
    """The ranges that all figures of one mark share.

    Attributes:
        loss: largest and smallest accuracy lost that is shown.
        log10_p: of the strongest reading, below 0.
        threshold: log10 p that verifies; None where no number does.
    """

    loss: tuple[float, float]
    log10_p: float
    threshold: float | None


def scales_of(audit: Audit, kind: str) -> Scales | None:
    """The ranges of a mark's figures; None where there is nothing to show."""
    shown = [(c, r) for c in audit.cells if (r := _shown(c, kind)) is not None]
    if not shown or audit.shipped is None:
        return None
    losses = [cell.loss or 0.0 for cell, _ in shown]
    span = max(0.1, *losses), min(-0.001, *losses)
    thresholds = [r.threshold_log10 for _, r in shown if r.threshold_log10 is not None]
    threshold = min(thresholds, default=None)
    strongest = min([words.evidence(r) for _, r in shown] + [threshold or -1.0])
    return Scales(span, 1.06 * strongest, threshold)


def _shown(cell: Cell, kind: str) -> MarkReading | None:
    reading = cell.reading(kind)
    examined = reading is not None and reading.verdict != "not examined"
    return reading if examined and cell.accuracy_after is not None else None


@dataclass(frozen=True)
class _Frame:
    """Where values lie in one drawing: left, top, right and bottom of its field."""

    scales: Scales
    field: tuple[float, float, float, float]

    def x(self, loss: float) -> float:
        most, least = (_root(end) for end in self.scales.loss)
        left, _, right, _ = self.field
        return left + (right - left) * (most - _root(loss)) / (most - least)

    def y(self, log10_p: float) -> float:
        _, top, _, bottom = self.field
        return bottom - (bottom - top) * log10_p / self.scales.log10_p

    def zone(self) -> str:
        """Where an attack works: little accuracy lost, too little evidence left."""
        scales = self.scales
        start, end = self.x(BUDGET), self.field[2]
        top = self.y(scales.threshold if scales.threshold is not None else scales.log10_p)
        height = self.field[3] - top
        return (
            f'<rect class="zone" x="{start:.1f}" y="{top:.1f}" width="{end - start:.1f}" '
            f'height="{height:.1f}"/>'
        )

    def limits(self) -> str:
        """The lines of the budget and of what is needed."""
        left, top, right, bottom = self.field
        x = self.x(BUDGET)
        lines = f'<path class="limit" d="M{x:.1f} {top:.1f}V{bottom:.1f}"/>'
        if self.scales.threshold is not None:
            y = self.y(self.scales.threshold)
            lines += f'<path class="limit" d="M{left:.1f} {y:.1f}H{right:.1f}"/>'
        return lines

    def points(self, cells: Sequence[Cell], kind: str, radius: float) -> str:
        """One point for each cell, those that fail on top."""
        shown = [(c, r) for c in cells if (r := _shown(c, kind)) is not None]
        shown.sort(key=lambda pair: pair[1].verdict != "verified")
        return "".join(self._point(cell, reading, radius) for cell, reading in shown)

    def _point(self, cell: Cell, reading: MarkReading, radius: float) -> str:
        x, y = self.x(cell.loss or 0.0), self.y(words.evidence(reading))
        kind = {"verified": "holds", "inconclusive": "doubt"}.get(reading.verdict, "fails")
        bits = "" if reading.matches is None else f", {reading.matches} of {reading.total}"
        title = f"{cell.attack}: {cell.strength} — {words.points(cell.loss)}{bits}, "
        title += f"{reading.verdict}"
        if kind == "fails":  # another shape, for whoever sees no difference of color
            r = 0.92 * radius
            shape = (
                f'<path class="{kind}" d="M{x - r:.1f} {y - r:.1f}L{x + r:.1f} {y + r:.1f}'
                f'M{x - r:.1f} {y + r:.1f}L{x + r:.1f} {y - r:.1f}">'
            )
            return f"{shape}<title>{escape(title)}</title></path>"
        return (
            f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">'
            f"<title>{escape(title)}</title></circle>"
        )


def overview(audit: Audit, kind: str, scales: Scales, size: tuple[int, int] = WIDE) -> str:
    """All cells of an audit: accuracy lost against log10 p of one mark.

    Args:
        audit: whose.
        kind: of the mark.
        scales: of its figures.
        size: in units of the drawing.

    Returns:
        An ``<svg>`` element.
    """
    width, height = size
    frame = _Frame(scales, (60, 14, width - 12, height - 46))
    label = f"Accuracy lost against log10 p of the {kind} after every attack"
    parts = [frame.zone(), _grid(frame, size), frame.limits(), _notes(frame, narrow=width < 500)]
    parts.append(frame.points(audit.cells, kind, 4.2))
    return _svg(size, label, parts)


def panel(audit: Audit, attack: str, kind: str, scales: Scales) -> str:
    """One attack from its weakest to its strongest, on the scales of all.

    Returns:
        A small ``<svg>`` element.
    """
    width, height = _PANEL
    frame = _Frame(scales, (8, 8, width - 8, height - 18))
    left, _, right, bottom = frame.field
    cells = audit.of(attack)
    parts = [
        frame.zone(),
        f'<path class="axis" d="M{left} {bottom}H{right}"/>',
        frame.limits(),
        _mark(frame, scales.loss[0], height - 4, "start"),
        _mark(frame, BUDGET, height - 4, "middle"),
        *_paths(frame, cells, kind),
        frame.points(cells, kind, 3.6),
    ]
    return _svg(_PANEL, f"{attack}: accuracy lost against log10 p", parts)


def _paths(frame: _Frame, cells: Sequence[Cell], kind: str) -> list[str]:
    """A line from strength to strength under each seed."""
    found = []
    for seed in dict.fromkeys(cell.seed for cell in cells):
        places = [
            f"{frame.x(cell.loss or 0.0):.1f} {frame.y(words.evidence(reading)):.1f}"
            for cell in cells
            if cell.seed == seed and (reading := _shown(cell, kind)) is not None
        ]
        if len(places) > 1:
            found.append(f'<path class="course" d="M{"L".join(places)}"/>')
    return found


def _root(loss: float) -> float:
    """Most attacks cost little: a linear scale would put them on top of each other."""
    return math.copysign(math.sqrt(abs(loss)), loss)


def _mark(frame: _Frame, loss: float, y: float, anchor: str) -> str:
    x, shown = frame.x(loss), f"−{100 * loss:.0f}" if loss else "0"
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{shown}</text>'


def _grid(frame: _Frame, size: tuple[int, int]) -> str:
    left, top, right, bottom = frame.field
    narrow = size[0] < WIDE[0]
    shown = [1, 0.5, 0.2, 0.1, BUDGET, 0.01, 0] if narrow else [1, 0.7, 0.5, 0.3, 0.2, 0.1,
             BUDGET, 0.02, 0.01, 0]  # fmt: skip
    found = [
        _mark(frame, loss, bottom + 17, "middle") for loss in shown if loss <= frame.scales.loss[0]
    ]
    step = ticks(-frame.scales.log10_p)
    for number in range(math.floor(-frame.scales.log10_p / step) + 1):
        y, value = frame.y(-number * step), number * step
        found.append(f'<path class="grid" d="M{left} {y:.1f}H{right}"/>')
        said = f"−{value:g}" if value else "0"
        found.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{said}</text>')
    found.append(f'<path class="axis" d="M{left} {bottom}H{right}"/>')
    middle = (left + right) / 2
    said = "points of accuracy lost" + ("" if narrow else ", on a scale of square roots")
    found.append(
        f'<text class="name" x="{middle:.1f}" y="{size[1] - 6}" text-anchor="middle">{said}</text>'
    )
    turned = f"translate(12 {(top + bottom) / 2:.1f}) rotate(-90)"
    found.append(f'<text class="name" transform="{turned}" text-anchor="middle">log10 p</text>')
    return "".join(found)


def ticks(span: float, about: int = 5) -> float:
    """A round distance that divides a span into about so many.

    Example:
        >>> ticks(220), ticks(13), ticks(1.1)
        (50, 5, 0.2)
    """
    power = 10.0 ** math.floor(math.log10(span / about))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= 0.8 * span / about)
    return int(step) if step >= 1 else round(step, 6)


def _notes(frame: _Frame, *, narrow: bool) -> str:
    """Names of the lines and of the zone, where no point is expected."""
    scales, (left, top, _, bottom) = frame.scales, frame.field
    x = frame.x(BUDGET)
    notes = [
        f'<text class="note" x="{x - 6:.1f}" y="{top + 10:.1f}" text-anchor="end">'
        "the budget: five points</text>"
    ]
    if scales.threshold is not None:
        y = frame.y(scales.threshold)
        notes.append(
            f'<text class="note" x="{left + 4:.1f}" y="{y - 6:.1f}">needed to verify</text>'
        )
        height = (y + bottom) / 2 + 4
        said = "works" if narrow else "an attack works here ›"
        notes.append(
            f'<text class="warn" x="{x - 6:.1f}" y="{height:.1f}" text-anchor="end">{said}</text>'
        )
    return "".join(notes)


def _svg(size: tuple[int, int], label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {size[0]} {size[1]}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )
