"""The course of a match test as a picture file: evidence for and against the mark, query by query.

Above, log10 of the e-value that the mark is there, with the line it must reach; below, log10 of the
e-value that the match rate is too low, with its own. Independent models that were asked the same
way are drawn in grey beside the suspect. Only matplotlib's object interface is used.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modeldeed.data._extras import import_extra
from modeldeed.errors import OptionError
from modeldeed.statistics import (
    BLACK_BOX,
    LN2,
    LN10,
    LOG_E_ABSENT_THRESHOLD,
    Budget,
    log_e_absent_path,
    log_e_path,
)
from modeldeed.storage import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["require_plot", "write_eprocess_plot"]

_SIZE = (7.4, 4.6)
_SUSPECT, _NULL, _THRESHOLD, _SOFT, _RULE = "#0b5fa5", "#9a9a9a", "#a33b20", "#555555", "#d8d8d8"
_DASHED = (0, (4, 2))


def write_eprocess_plot(
    destination: Path,
    matched: ArrayLike,
    classes: int,
    budget: Budget = BLACK_BOX,
    *,
    null_models: Sequence[ArrayLike] = (),
    size: tuple[float, float] = _SIZE,
) -> None:
    """Draw one transcript against its two thresholds and write the picture.

    Args:
        destination: the file, ending in ``.png`` or ``.svg``; it is replaced if it exists.
        matched: whether each answer of the suspect matched, in order; at least one.
        classes: K, 2 … 2³².
        budget: what the claim pays; it sets the upper threshold.
        null_models: the same of independent models; their lengths may differ.
        size: width and height in inches.

    Raises:
        OptionError: another ending, outcomes that are no rows of true and false, or a number of
            classes out of range.
        MissingExtraError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    kind = require_plot(destination)
    rows = [_row(matched, "the suspect")]
    rows += [_row(null, f"null model {place}") for place, null in enumerate(null_models)]
    data = _drawn(rows, classes, budget, size, kind)
    write_atomically(destination, data)


def require_plot(destination: Path) -> str:
    """Fail now rather than after the questions.

    Args:
        destination: where the plot is to be written.

    Returns:
        ``"png"`` or ``"svg"``.

    Raises:
        OptionError: another ending.
        MissingExtraError: matplotlib is not installed.
    """
    kind = destination.suffix.lower().removeprefix(".")
    if kind not in ("png", "svg"):
        raise OptionError(f"a plot is a .png or .svg file, got {destination.name!r}")
    import_extra("matplotlib", "matplotlib", "report")
    return kind


def _row(matched: ArrayLike, of: str) -> NDArray[Any]:
    row = np.asarray(matched)
    if row.ndim != 1 or not row.size:
        raise OptionError(
            f"the outcomes of {of} are one row of true and false with at least one answer, got "
            f"shape {row.shape}"
        )
    return row


def _drawn(
    rows: Sequence[NDArray[Any]],
    classes: int,
    budget: Budget,
    size: tuple[float, float],
    kind: str,
) -> bytes:
    present = [log_e_path(row, classes) / LN10 for row in rows]
    absent = [log_e_absent_path(row, classes) / LN10 for row in rows]
    matplotlib: Any = import_extra("matplotlib", "matplotlib", "report")
    figure_module: Any = import_extra("matplotlib.figure", "matplotlib", "report")
    # The salt and the missing date make equal transcripts equal files.
    with matplotlib.rc_context({"svg.hashsalt": "e-process", "font.size": 10.0}):
        figure = figure_module.Figure(figsize=size, layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        _panel(upper, present, budget.e_threshold_log2 * LN2 / LN10, "verified")
        _panel(lower, absent, LOG_E_ABSENT_THRESHOLD / LN10, "not verified")
        upper.set_ylabel("log10 E, mark present")
        lower.set(xlabel="answers compared", ylabel="log10 E, mark absent")
        lower.set_xlim(0, 1.02 * max(len(row) for row in rows))
        lower.locator_params("x", integer=True)
        _legend(figure, len(rows) - 1)
        buffer = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
    return buffer.getvalue()


def _panel(
    axes: Axes, paths: Sequence[NDArray[np.float64]], threshold: float, outcome: str
) -> None:
    for place, path in reversed(list(enumerate(paths))):  # the suspect comes last, on top
        color, width = (_NULL, 0.8) if place else (_SUSPECT, 2.2)
        # Every course starts at E = 1, before the first answer.
        axes.plot(np.arange(len(path) + 1), np.append(0.0, path), color=color, linewidth=width)
    closed = np.flatnonzero(paths[0] >= threshold)
    if closed.size:  # where it gets there first; the first of both panels decides
        axes.plot(closed[0] + 1, paths[0][closed[0]], "o", color=_SUSPECT, markersize=6)
    axes.axhline(threshold, color=_THRESHOLD, linestyle=_DASHED, linewidth=1.2)
    axes.annotate(
        f"{outcome}: {threshold:.1f}",
        (1, threshold),
        xycoords=("axes fraction", "data"),
        xytext=(-4, 3),
        textcoords="offset points",
        ha="right",
        va="bottom",
        color=_THRESHOLD,
    )
    low, high = axes.get_ylim()
    axes.set_ylim(low, max(high, threshold + 0.18 * (threshold - min(low, 0.0))))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=_RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_SOFT, length=0, labelsize=9)


def _legend(figure: Any, nulls: int) -> None:
    handle: Callable[..., Any] = import_extra("matplotlib.lines", "matplotlib", "report").Line2D
    lines = {"suspect": handle([], [], color=_SUSPECT, linewidth=2.2)}
    if nulls:
        lines[f"{nulls} independent model{'s' if nulls > 1 else ''}"] = handle(
            [], [], color=_NULL, linewidth=0.8
        )
    # Outside: inside there is no place that no transcript can reach.
    figure.legend(lines.values(), lines.keys(), loc="outside upper right", ncols=2, frameon=False)
