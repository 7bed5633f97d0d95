"""A table that fits a terminal of 80 columns."""

from __future__ import annotations

from rich import box
from rich.table import Table

__all__ = ["narrow_table"]


def narrow_table(texts: tuple[str, ...], numbers: tuple[str, ...], last: str) -> Table:
    """A table with narrow gaps, without rows.

    Args:
        texts: headings of the first columns.
        numbers: headings of the columns behind them, aligned to the right, never broken.
        last: heading of the last column, never broken.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for heading in texts:
        table.add_column(heading)
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column(last, no_wrap=True)
    return table
