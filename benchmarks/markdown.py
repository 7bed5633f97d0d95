"""Numbers and tables as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.summaries import Summary

__all__ = ["signed", "table", "with_interval"]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are aligned to the right.

    Example:
        >>> print(table(["host", "x"], [["a", "1"]]))
        | host | x |
        |---|---:|
        | a | 1 |
    """
    rule = ["---"] + ["---:"] * (len(header) - 1)
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return "\n".join([lines[0], f"|{'|'.join(rule)}|", *lines[1:]])


def signed(value: float) -> str:
    """A difference with its sign, three decimals.

    Example:
        >>> signed(-0.0049), signed(0.0)
        ('−0.005', '+0.000')
    """
    return f"{value:+.3f}".replace("-0.000", "+0.000").replace("-", "−")


def with_interval(shown: str, summary: Summary) -> str:
    """A shown mean with the half-width of its interval; by itself for one seed.

    Example:
        >>> from benchmarks.summaries import summarize
        >>> with_interval("1.000", summarize([1.0]))
        '1.000'
    """
    if summary.high is None:
        return shown
    return f"{shown} ± {summary.high - summary.mean:.3f}"
