"""The metrics of a growth card, and the card as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.cards import Card
from benchmarks.markdown import table
from benchmarks.records import Record

__all__ = ["Curve", "Growth", "Point", "render"]


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
