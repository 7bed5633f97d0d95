"""Figures as SVG text that takes its colors from the page it stands in.

Only matplotlib's object interface is used: no global figure, no window, no backend to choose.
Colors are drawn as placeholders and replaced with CSS variables afterwards, so one drawing serves
light and dark pages.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modeldeed.data._extras import import_extra
from modeldeed.demo.result import DemoResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "NARROW",
    "WIDE",
    "accuracy_figure",
    "margin_figure",
    "wrong_key_figure",
]

WIDE = (7.4, 3.5)
NARROW = (3.9, 3.3)
"""Sizes in inches for a desk and for a phone: scaling one drawing would scale its letters."""

# Colors that matplotlib passes through unchanged and that stand for CSS variables.
_INK, _SOFT, _RULE = "#010101", "#010102", "#010103"
_OWNER, _PRIVATE, _OTHER, _BAND = "#010104", "#010105", "#010106", "#010107"
_VARIABLES = {
    _INK: "var(--ink)",
    _SOFT: "var(--soft)",
    _RULE: "var(--rule)",
    _OWNER: "var(--accent)",
    _PRIVATE: "var(--second)",
    _OTHER: "var(--other)",
    _BAND: "var(--band)",
}
# Under four standard deviations a bit counts as loosely held; the training aims above it.
_FIRM = 4.0


@dataclass(frozen=True)
class _Drawing:
    """One figure in the making."""

    axes: Axes
    narrow: bool


def accuracy_figure(result: DemoResult, size: tuple[float, float] = WIDE) -> str:
    """Accuracy over the epochs: the twin, the marked model, and its private branch.

    Args:
        result: of the demo.
        size: width and height in inches.

    Returns:
        An ``<svg>`` element.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    epochs = [record.epoch for record in result.history]
    lines = (
        ("without a mark", [r.plain for r in result.history], _SOFT, (0, (4, 2))),
        ("marked, as anybody runs it", [r.public for r in result.history], _OWNER, "-"),
        ("marked, private branch", [r.private for r in result.history], _PRIVATE, "-"),
    )

    def draw(drawing: _Drawing) -> None:
        axes = drawing.axes
        for label, values, color, style in lines:
            axes.plot(epochs, values, color=color, linestyle=style, linewidth=1.8, label=label)
        axes.set(xlabel="epoch", ylabel="accuracy on new images", ylim=(0, 1.03))
        axes.set_xlim(1, epochs[-1])
        axes.locator_params("x", integer=True)
        axes.legend(loc="lower right", frameon=False, labelcolor=_INK)

    return _svg("accuracy", "Accuracy of both models over the epochs", size, draw)


def wrong_key_figure(result: DemoResult, size: tuple[float, float] = WIDE) -> str:
    """Bits that match under wrong keys, the threshold, and the owner's.

    Args:
        result: of the demo.
        size: width and height in inches.

    Returns:
        An ``<svg>`` element.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    from scipy.stats import binom  # noqa: PLC0415 - half a second, which no other table needs

    bits, matches = result.signature_bits, result.signature_matches
    coin = binom(bits, 0.5)
    low, high = int(coin.ppf(0.0005)), int(coin.ppf(0.9995))
    spread = float(coin.std())
    # About a third of a standard deviation, whole bits: every bin covers as many counts.
    width = max(1, round(spread / 3))
    start = min(low, *result.decoy_matches) - width
    stop = max(high, *result.decoy_matches) + 2 * width
    edges = (np.arange(start, stop, width) - 0.5).tolist()
    curve = np.arange(start, stop)

    def draw(drawing: _Drawing) -> None:
        axes = drawing.axes
        counts, _, _ = axes.hist(
            result.decoy_matches, edges, histtype="stepfilled", color=_OTHER, alpha=0.55
        )
        expected = result.decoy_keys * width * coin.pmf(curve)
        axes.plot(curve, expected, color=_INK, linewidth=1.2)
        top = 1.45 * max(float(np.max(counts)), float(expected.max()))
        axes.set(xlabel="bits that match", ylabel="wrong keys", ylim=(0, top))
        axes.set_xlim(start - 2 * width, bits + 2 * width)
        axes.axvspan(low, high, color=_BAND, zorder=0)
        middle = (low + high) / 2
        axes.text(
            middle,
            top * 0.97,
            f"{result.decoy_keys}\nwrong keys",
            ha="center",
            va="top",
            color=_INK,
        )
        if (required := result.required_matches) is not None:
            axes.axvline(required, color=_SOFT, linestyle=(0, (4, 2)), linewidth=1.2)
            _label(axes, required, top * 0.97, f"{required}\nneeded", _SOFT, left=False)
        axes.axvline(matches, color=_OWNER, linewidth=2.4)
        # On a phone the two labels would meet on one line.
        height = 0.72 if drawing.narrow else 0.97
        _label(axes, matches, top * height, f"{matches}\nthe owner's key", _OWNER, left=True)

    return _svg("wrong-keys", "Bits that match under wrong keys and the owner's", size, draw)


def margin_figure(result: DemoResult, size: tuple[float, float] = WIDE) -> str:
    """How far every bit stands on its side: the marked model, the twin, and theory.

    Args:
        result: of the demo.
        size: width and height in inches.

    Returns:
        An ``<svg>`` element.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    values = (*result.margins, *result.unmarked_margins)
    step = 0.4
    # Wide enough on the left for the label beside 0, whatever the margins are.
    start, stop = np.floor(min(*values, -5)), np.ceil(max(*values, 8))
    edges = np.arange(start, stop + step, step).tolist()
    curve = np.linspace(-4, 4, 161)

    def draw(drawing: _Drawing) -> None:
        axes = drawing.axes
        marked, _, _ = axes.hist(
            result.margins, edges, histtype="stepfilled", color=_OWNER, alpha=0.75
        )
        twin, _, _ = axes.hist(
            result.unmarked_margins, edges, histtype="stepfilled", color=_OTHER, alpha=0.55
        )
        bell = np.exp(-(curve**2) / 2) / np.sqrt(2 * np.pi)
        expected = len(result.unmarked_margins) * step * bell
        axes.plot(curve, expected, color=_INK, linewidth=1.2)
        top = 1.3 * max(float(np.max(marked)), float(np.max(twin)), float(expected.max()))
        axes.set(xlabel="margin in standard deviations", ylabel="bits", ylim=(0, top))
        axes.set_xlim(start, stop)
        for x, style in ((0, "-"), (_FIRM, (0, (4, 2)))):
            axes.axvline(x, color=_SOFT, linestyle=style, linewidth=1)
        _label(axes, 0, top * 0.97, "twin", _INK, left=True)
        _label(axes, _FIRM, top * 0.97, "marked", _OWNER, left=False)

    return _svg("margins", "Margins of the signature bits", size, draw)


def _label(axes: Axes, x: float, y: float, text: str, color: str, *, left: bool) -> None:
    """Write beside a vertical line, left or right of it."""
    axes.annotate(
        text,
        (x, y),
        xytext=(-6 if left else 6, 0),
        textcoords="offset points",
        ha="right" if left else "left",
        va="top",
        color=color,
    )


def _svg(name: str, title: str, size: tuple[float, float], draw: Callable[[_Drawing], None]) -> str:
    matplotlib: Any = import_extra("matplotlib", "matplotlib", "report")
    figure_module: Any = import_extra("matplotlib.figure", "matplotlib", "report")
    narrow = size[0] < WIDE[0]
    prefix = f"{name}-{'narrow' if narrow else 'wide'}"
    # Text stays text, in the page's own fonts; the salt keeps ids of several figures apart.
    settings = {"svg.fonttype": "none", "svg.hashsalt": prefix, "font.size": 10.0}
    with matplotlib.rc_context(settings):
        figure = figure_module.Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        _dress(axes)
        draw(_Drawing(axes, narrow))
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _for_page(buffer.getvalue(), prefix, title)


def _dress(axes: Axes) -> None:
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_RULE)
    axes.grid(axis="y", color=_RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_SOFT, length=0, labelsize=9)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(_SOFT)


def _for_page(svg: str, prefix: str, title: str) -> str:
    """Cut a stand-alone SVG file down to an element that fits into a page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;\"]*; ?", "", svg)
    # Every figure numbers its parts from 1, and ids of a page must be unique.
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'href="#', f'href="#{prefix}-', svg)
    svg = svg.replace("url(#", f"url(#{prefix}-")
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, variable)
    return svg
