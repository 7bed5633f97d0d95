"""The metrics of a growth card, and the card as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.cards import Card
from benchmarks.markdown import table
from benchmarks.plots import COLORS
from benchmarks.records import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Curve", "Growth", "Point", "plot", "render"]


class Point(Record):
    """One size.

    Attributes:
        size: of what the curve grows with.
        seconds: median over the repeats, on one thread.
        limit_seconds: of the least that any program has to do for it, interleaved; see the
            curve's ``limit``.
        peak_bytes: of a process of its own above what it had before; None where it was not
            measured.
    """

    size: int
    seconds: float
    limit_seconds: float
    peak_bytes: int | None = None

    @property
    def of_limit(self) -> float:
        """Share of the limit's speed."""
        return self.limit_seconds / self.seconds


class Curve(Record):
    """How one piece of work grows.

    Attributes:
        name: of the work.
        size: what it grows with.
        limit: the least that has to be done, in words.
        points: by size.
    """

    name: str
    size: str
    limit: str
    points: tuple[Point, ...]

    @property
    def exponent(self) -> float:
        """Of the power law through the first and the last point; 1 is linear, 0 constant."""
        first, last = self.points[0], self.points[-1]
        return math.log(last.seconds / first.seconds) / math.log(last.size / first.size)


class Growth(Record):
    """The metrics of a growth card: its curves."""

    curves: tuple[Curve, ...]


def render(card: Card) -> str:
    """One row per size and curve.

    Args:
        card: a growth card.

    Returns:
        A Markdown table and what its columns say.
    """
    metrics = Growth.model_validate(card.metrics)
    limits = "; ".join(f"*{curve.name}*: {curve.limit}" for curve in metrics.curves)
    header = ("work", "size", "seconds", "of the limit's speed", "exponent", "peak memory")
    legend = (
        "Seconds on one thread, median of interleaved repeats. *Of the limit's speed* compares "
        f"with the least that has to be done ({limits}). *Exponent* is that of the power law from "
        "the smallest to the largest size: 1 is linear. Peak memory is that of a process of its "
        "own, above what it had before."
    )
    rows = [row for curve in metrics.curves for row in _rows(curve)]
    return f"{table(header, rows)}\n\n{legend}"


def plot(card: Card, figure: Figure) -> None:
    """Seconds by size, a dotted line for each limit.

    Args:
        card: a growth card.
        figure: an empty one.
    """
    curves = Growth.model_validate(card.metrics).curves
    for place, (axes, curve) in enumerate(
        zip(figure.subplots(1, len(curves), squeeze=False)[0], curves, strict=True)
    ):
        sizes = [point.size for point in curve.points]
        seconds = [point.seconds for point in curve.points]
        axes.loglog(sizes, seconds, "o-", color=COLORS[place % len(COLORS)], ms=4)
        axes.loglog(sizes, [p.limit_seconds for p in curve.points], ":", color="#808080")
        axes.set_title(curve.name, fontsize=10)
        axes.set_xlabel(curve.size)
        axes.grid(True, which="major")
    figure.supylabel("seconds; dotted: the limit", fontsize=10, color="#808080")


def _rows(curve: Curve) -> Sequence[tuple[str, ...]]:
    return [
        (
            curve.name,
            f"{point.size:,} {curve.size}",
            f"{point.seconds:.3g}",
            f"{point.of_limit:.2f}",
            f"{curve.exponent:.2f}" if place == len(curve.points) - 1 else "",
            "" if point.peak_bytes is None else f"{point.peak_bytes / 2**20:.0f} MiB",
        )
        for place, point in enumerate(curve.points)
    ]
