"""Draw ``docs/idea.svg``, the picture of the idea in the README.

Run ``python docs/draw_idea.py`` to write it anew. The picture is drawn on a card of its own, so it
reads the same on a light and on a dark page. The curve and the threshold in it are computed, not
measured: 672 fair bits and the matches that an unanchored claim must reach.
"""

from __future__ import annotations

import math
from pathlib import Path
from xml.sax.saxutils import escape

from modeldeed.statistics import Budget, required_matches

WIDTH, HEIGHT = 1200, 476
BITS = 672
INK, MUTED, LINE, CARD, PAPER = "#1f2933", "#667281", "#d9d4c7", "#fcfbf7", "#ffffff"
PUBLIC, PUBLIC_SOFT = "#1d5fbf", "#e3edfb"
PRIVATE, PRIVATE_SOFT = "#a8500a", "#fdf0dc"
GOOD, GOOD_SOFT = "#1a7f52", "#dff3e8"
FONT = "-apple-system, 'Segoe UI', 'Helvetica Neue', Helvetica, Arial, sans-serif"


def text(
    x: float,
    y: float,
    words: str,
    *,
    size: float = 15,
    color: str = INK,
    anchor: str = "start",
    weight: int = 400,
    italic: bool = False,
) -> str:
    """A line of text."""
    style = ' font-style="italic"' if italic else ""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{color}" text-anchor="{anchor}" '
        f'font-weight="{weight}"{style}>{escape(words)}</text>'
    )


def box(
    x: float, y: float, width: float, height: float, fill: str, stroke: str, radius: float = 9
) -> str:
    """A rounded box."""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}" '
        f'fill="{fill}" stroke="{stroke}" stroke-width="1.5"/>'
    )


def labeled(
    x: float, y: float, width: float, height: float, words: str, fill: str, stroke: str
) -> str:
    """A rounded box with one line in its middle."""
    line = text(x + width / 2, y + height / 2 + 5, words, color=stroke, anchor="middle", weight=600)
    return box(x, y, width, height, fill, stroke) + line


def arrow(path: str, color: str, *, dashed: bool = False) -> str:
    """A path with a head at its end."""
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    head = {PUBLIC: "public", PRIVATE: "private", GOOD: "good"}.get(color, "muted")
    return (
        f'<path d="{path}" fill="none" stroke="{color}" stroke-width="1.8"{dash} '
        f'marker-end="url(#{head})"/>'
    )


def key(x: float, y: float, color: str) -> str:
    """A small key, its ring at (x, y)."""
    return (
        f'<g fill="none" stroke="{color}" stroke-width="3" stroke-linecap="round">'
        f'<circle cx="{x:g}" cy="{y:g}" r="7"/><path d="M{x + 7:g} {y:g}h21m-7 0v7m7 -7v6"/></g>'
    )


def heading(x: float, number: int, words: str) -> str:
    """The title of one of the three parts."""
    return (
        f'<circle cx="{x + 14:g}" cy="52" r="14" fill="{INK}"/>'
        + text(x + 14, 57.5, str(number), color=PAPER, anchor="middle", weight=700)
        + text(x + 38, 58.5, words, size=19, weight=700)
    )


def mark() -> str:
    """Part 1: both branches run on the same weight; the private one is driven by the key."""
    return "".join(
        [
            heading(34, 1, "Mark it while it trains"),
            arrow("M34 180H66", MUTED),
            labeled(70, 156, 104, 48, "weight W", PAPER, INK),
            # public
            arrow("M174 170C204 170 196 130 228 130", PUBLIC),
            labeled(232, 106, 150, 48, "norm · γ₀, β₀", PUBLIC_SOFT, PUBLIC),
            arrow("M382 130H420", PUBLIC),
            text(427, 127, "public branch:", size=14, color=PUBLIC, weight=600),
            text(427, 145, "your model, untouched", size=14, color=PUBLIC),
            # private
            arrow("M174 190C204 190 196 230 228 230", PRIVATE),
            labeled(232, 206, 150, 48, "norm · γ₁, β₁", PRIVATE_SOFT, PRIVATE),
            arrow("M382 230H420", PRIVATE),
            text(427, 227, "private branch:", size=14, color=PRIVATE, weight=600),
            text(427, 245, "only with the key", size=14, color=PRIVATE),
            # readings
            arrow("M122 204V312", MUTED),
            box(34, 316, 262, 52, PRIVATE_SOFT, PRIVATE),
            text(165, 348, "rᵢ = ⟨wᵢ, Pᵢ⟩ / ‖wᵢ‖", size=18, color=PRIVATE, anchor="middle"),
            arrow("M262 316C262 290 307 290 307 258", PRIVATE),
            text(318, 288, "head", size=14, color=PRIVATE, italic=True),
            # the key
            key(448, 342, PRIVATE),
            text(490, 348, "owner's key", weight=600, color=PRIVATE),
            arrow("M434 342H300", PRIVATE),
            text(368, 334, "passports P", size=14, color=PRIVATE, anchor="middle"),
            arrow("M462 356C462 400 440 420 300 420", PRIVATE),
            text(384, 404, "bits b", size=14, color=PRIVATE, anchor="middle"),
            arrow("M165 368V394", PRIVATE),
            box(34, 398, 262, 44, PAPER, PRIVATE),
            text(165, 425, "training:  sign rᵢ → bᵢ", size=16, color=PRIVATE, anchor="middle"),
        ]
    )


def ship() -> str:
    """Part 2: what leaves the house, and what stays."""
    x = 642
    lines = [PUBLIC] * 5
    rows = "".join(
        f'<path d="M{x + 74:g} {164 + 15 * i:g}h{70 - 9 * (i % 3):g}" stroke="{color}" '
        'stroke-width="5" stroke-linecap="round" opacity="0.55"/>'
        for i, color in enumerate(lines)
    )
    return "".join(
        [
            heading(x, 2, "Ship it as it is"),
            f'<path d="M{x + 54} 112h86l24 24v116h-110z" fill="{PUBLIC_SOFT}" stroke="{PUBLIC}" '
            'stroke-width="1.5" stroke-linejoin="round"/>',
            f'<path d="M{x + 140} 112v24h24" fill="none" stroke="{PUBLIC}" stroke-width="1.5"/>',
            rows,
            text(x + 109, 276, "model.safetensors", anchor="middle", color=PUBLIC, weight=600),
            text(x + 109, 298, "same names, same shapes,", size=14, anchor="middle", color=MUTED),
            text(x + 109, 316, "nothing private inside", size=14, anchor="middle", color=MUTED),
            box(x, 350, 218, 88, PRIVATE_SOFT, PRIVATE),
            key(x + 24, 380, PRIVATE),
            text(x + 64, 385, "stays at home:", color=PRIVATE, weight=600),
            text(x + 16, 408, "the key, from which all", size=14, color=PRIVATE),
            text(x + 16, 426, "secrets are derived again", size=14, color=PRIVATE),
        ]
    )


def prove() -> str:
    """Part 3: the matches of an unrelated model, and the threshold."""
    left, right, base, top = 912.0, 1166.0, 330.0, 132.0
    needed = required_matches(BITS, Budget()) or BITS

    def at(matches: float) -> float:
        return left + (right - left) * (matches - 240) / (BITS - 240)

    spread = math.sqrt(BITS) / 2
    points = []
    for matches in range(240, 441, 2):
        height = math.exp(-(((matches - BITS / 2) / spread) ** 2) / 2)
        points.append(f"{at(matches):.1f} {base - (base - top - 24) * height:.1f}")
    curve = "M" + " L".join(points)
    limit = at(needed)
    center = (limit + right) / 2
    return "".join(
        [
            heading(904, 3, "Prove it, offline"),
            f'<rect x="{limit:.1f}" y="{top:g}" width="{right - limit:.1f}" '
            f'height="{base - top:g}" fill="{GOOD_SOFT}"/>',
            f'<path d="{curve} L{at(440):.1f} {base:g} L{left:g} {base:g}Z" fill="{LINE}" '
            'opacity="0.6"/>',
            f'<path d="{curve}" fill="none" stroke="{MUTED}" stroke-width="1.8"/>',
            f'<path d="M{left:g} {base:g}H{right:g}" stroke="{INK}" stroke-width="1.5"/>',
            f'<path d="M{limit:.1f} {top:g}V{base + 6:g}" stroke="{GOOD}" stroke-width="2"/>',
            text(at(BITS / 2), 118, "an unrelated model:", size=14, color=MUTED, anchor="middle"),
            text(at(BITS / 2), 136, "heads or tails", size=14, color=MUTED, anchor="middle"),
            text(center, 200, "verified", size=16, color=GOOD, anchor="middle", weight=700),
            text(center, 222, "p ≤ 2⁻¹²⁸", size=15, color=GOOD, anchor="middle"),
            text(at(BITS / 2), 350, str(BITS // 2), size=14, color=MUTED, anchor="middle"),
            text(limit, 352, str(needed), size=14, color=GOOD, anchor="middle", weight=700),
            text(right, 350, str(BITS), size=14, color=MUTED, anchor="end"),
            text(left, 376, f"matching bits of {BITS}", size=14),
            text(left, 408, "suspect's weights + key → verdict", size=15, weight=600),
            text(left, 428, "with an exact p-value and its price", size=14, color=MUTED),
            text(left, 446, "for keys that were tried beforehand", size=14, color=MUTED),
        ]
    )


def draw() -> str:
    """The whole picture as SVG text."""
    heads = "".join(
        f'<marker id="{name}" viewBox="0 0 10 10" refX="8.5" refY="5" markerWidth="7" '
        f'markerHeight="7" orient="auto-start-reverse"><path d="M0 0.8 9 5 0 9.2z" '
        f'fill="{color}"/></marker>'
        for name, color in (
            ("public", PUBLIC),
            ("private", PRIVATE),
            ("good", GOOD),
            ("muted", MUTED),
        )
    )
    summary = (
        "One: while the model trains, a private branch runs on the same weights with scales that "
        "follow from the owner's key, and the sign of each keyed reading is pushed to a secret "
        "bit. Two: the model ships as ordinary weights; only the key stays at home. Three: given "
        f"the key, a judge counts matching bits; an unrelated model matches half of {BITS}, and "
        f"{required_matches(BITS, Budget())} are needed."
    )
    rules = "".join(
        f'<path d="M{x} 36V440" stroke="{LINE}" stroke-width="1.5"/>' for x in (612, 884)
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-labelledby="title summary" font-family="{FONT}">',
        '<title id="title">How modeldeed works</title>',
        f'<desc id="summary">{escape(summary)}</desc>',
        f"<defs>{heads}</defs>",
        f'<rect x="1" y="1" width="{WIDTH - 2}" height="{HEIGHT - 2}" rx="18" fill="{CARD}" '
        f'stroke="{LINE}" stroke-width="2"/>',
        rules,
        mark(),
        ship(),
        prove(),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("idea.svg").write_text(draw(), encoding="utf-8")
