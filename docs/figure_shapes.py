"""Shapes of the figures: plain SVG whose colors follow the reader's palette.

A figure is read in two places: as a picture, where the system's palette counts, and within a page
of the documentation site, where that page's palette counts. So colors are variables with defaults.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

FONT = "-apple-system, 'Segoe UI', 'Helvetica Neue', Helvetica, Arial, sans-serif"
LIGHT = {
    "ink": "#1f2933",
    "muted": "#5f6b7a",
    "line": "#cfd6df",
    "paper": "#ffffff",
    "public": "#1d5fbf",
    "public-soft": "#e3edfb",
    "private": "#a8500a",
    "private-soft": "#fdf0dc",
    "good": "#1a7f52",
    "good-soft": "#dff3e8",
}
DARK = {
    "ink": "#e4e9f0",
    "muted": "#a3afbf",
    "line": "#4a5568",
    "paper": "#262c38",
    "public": "#8ab8ff",
    "public-soft": "#22385a",
    "private": "#f2a65a",
    "private-soft": "#4a3420",
    "good": "#6fd3a4",
    "good-soft": "#1d4634",
}


def variables(palette: dict[str, str]) -> str:
    """A palette as declarations."""
    return "".join(f"--deed-{name}:{color};" for name, color in palette.items())


def style() -> str:
    """The style of every figure: defaults for pictures, overruled by the site's own palette."""
    fills = "".join(
        f".deed-figure .f-{name}{{fill:var(--deed-{name})}}"
        f".deed-figure .s-{name}{{stroke:var(--deed-{name})}}"
        for name in LIGHT
    )
    return (
        f"<style>.deed-figure{{{variables(LIGHT)}}}"
        f"@media (prefers-color-scheme:dark){{.deed-figure{{{variables(DARK)}}}}}{fills}</style>"
    )


def text(
    x: float,
    y: float,
    words: str,
    *,
    size: float = 15,
    color: str = "ink",
    anchor: str = "start",
    weight: int = 400,
) -> str:
    """A line of text."""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" class="f-{color}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{escape(words)}</text>'
    )


def lines(x: float, y: float, words: Sequence[str], *, step: float = 19, **options: object) -> str:
    """Lines of text below each other."""
    return "".join(text(x, y + step * i, line, **options) for i, line in enumerate(words))  # type: ignore[arg-type]


def box(
    x: float,
    y: float,
    width: float,
    height: float,
    words: Sequence[str] = (),
    *,
    color: str = "ink",
    fill: str = "paper",
    size: float = 15,
    weight: int = 600,
    dashed: bool = False,
) -> str:
    """A rounded box with lines of text in its middle."""
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    first = y + height / 2 + size * 0.34 - (len(words) - 1) * size * 0.64
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="9" '
        f'class="f-{fill} s-{color}" stroke-width="1.6"{dash}/>'
        + lines(
            x + width / 2,
            first,
            words,
            step=size * 1.28,
            size=size,
            color=color,
            anchor="middle",
            weight=weight,
        )
    )


def arrow(path: str, color: str = "muted", *, dashed: bool = False) -> str:
    """A path with a head at its end."""
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return (
        f'<path d="{path}" fill="none" class="s-{color}" stroke-width="1.8"{dash} '
        f'marker-end="url(#HEAD-{color})"/>'
    )


def curve(points: Sequence[tuple[float, float]], color: str, *, width: float = 2) -> str:
    """A line through points."""
    path = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f'<path d="{path}" fill="none" class="s-{color}" stroke-width="{width:g}"/>'


def area(points: Sequence[tuple[float, float]], base: float, fill: str) -> str:
    """What lies between points and a base."""
    path = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return (
        f'<path d="{path} L{points[-1][0]:.1f} {base:g} L{points[0][0]:.1f} {base:g}Z" '
        f'class="f-{fill}" opacity="0.75"/>'
    )


def rule(path: str, color: str = "muted", *, width: float = 1.4, dashed: bool = False) -> str:
    """A plain line."""
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<path d="{path}" fill="none" class="s-{color}" stroke-width="{width:g}"{dash}/>'


def figure(name: str, summary: str, width: int, height: int, parts: Sequence[str]) -> str:
    """A whole figure; *summary* is what is read aloud in its place."""
    colors = ("ink", "muted", "public", "private", "good")
    heads = "".join(
        f'<marker id="HEAD-{color}" viewBox="0 0 10 10" refX="8.5" refY="5" markerWidth="7" '
        f'markerHeight="7" orient="auto-start-reverse"><path d="M0 0.8 9 5 0 9.2z" '
        f'class="f-{color}"/></marker>'
        for color in colors
    )
    body = "\n".join([f"<defs>{heads}</defs>", *parts]).replace("HEAD-", f"{name}-")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-labelledby="{name}-summary" font-family="{FONT}" class="deed-figure">\n'
        f'<desc id="{name}-summary">{escape(summary)}</desc>\n{style()}\n{body}\n</svg>\n'
    )
