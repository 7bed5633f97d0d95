"""Figures from cards, as SVG files that are read on light and on dark pages."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.cards import Card
from benchmarks.registry import Experiment
from modeldeed.storage import write_atomically

__all__ = ["COLORS", "figure_of", "link", "update_figures"]

COLORS = ("#3b82c4", "#d9822b", "#4a9d5f", "#b0568f", "#7a7fd0", "#a08a3c")
"""Of curves; each is told from both white and black."""

_INK = "#808080"
# Typed loosely: matplotlib lists the names of its settings one by one.
_STYLE: Any = {
    "font.size": 10,
    "svg.fonttype": "path",
    "svg.hashsalt": "modeldeed",
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _INK,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}


def link(card: Card) -> str:
    """Where a card's figure lies, relative to the pages."""
    return f"plots/{card.experiment}-{card.setting}.svg"


def figure_of(entry: Experiment, card: Card) -> str:
    """A card's figure.

    Args:
        entry: an experiment with a plot.
        card: one of its cards.

    Returns:
        SVG text; the same for the same card and matplotlib.
    """
    from matplotlib import rc_context  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    if entry.plot is None:
        raise AssertionError(f"{entry.name} has no plot")
    with rc_context(_STYLE):
        figure = Figure(figsize=(8.4, 3.6), layout="constrained")
        entry.plot(card, figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return text.getvalue()


def update_figures(folder: Path, entries: Sequence[Experiment], cards: Sequence[Card]) -> list[str]:
    """Draw the figures of all cards anew.

    Args:
        folder: of the pages; figures lie in ``plots`` below.
        entries: the experiments; those without a plot are passed over.
        cards: all cards.

    Returns:
        The files' names, relative to the folder.
    """
    drawn = []
    for entry in entries:
        for card in cards:
            if entry.plot is not None and card.experiment == entry.name:
                path = folder / link(card)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, figure_of(entry, card).encode())
                drawn.append(link(card))
    return drawn
