"""The figure of wrong keys: what bits match by luck, against what the owner's key finds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from modeldeed.audit.records import MarkReading
from modeldeed.statistics import LN10, log_binomial_tail

__all__ = ["wrong_keys_figure"]


def wrong_keys_figure(reading: MarkReading, size: tuple[int, int]) -> str:
    """Bits that match under wrong keys, the threshold, and the owner's.

    Args:
        reading: of the model as it shipped, with wrong keys.
        size: in units of the drawing.

    Returns:
        An ``<svg>`` element; empty without wrong keys.
    """
    keys, bits, matches = reading.wrong_keys, reading.total or 0, reading.matches or 0
    if not keys or not bits:
        return ""
    spread = math.sqrt(bits) / 2
    bin_width = max(1, round(spread / 3))
    start = min(*keys, round(bits / 2 - 4 * spread)) - bin_width
    stop = max(*keys, matches, bits)
    left, top, right, bottom = 12.0, 46.0, size[0] - 12.0, size[1] - 46.0
    counts = _counts(keys, start, bin_width)
    curve = _expected(bits, len(keys), bin_width, start, max(keys) + 2 * bin_width)
    highest = 1.15 * max(*counts, *(value for _, value in curve))

    def x(value: float) -> float:
        return left + (right - left) * (value - start) / (stop - start)

    def y(value: float) -> float:
        return bottom - (bottom - top) * value / highest

    parts = []
    for place, count in enumerate(counts):
        if count:
            begin, end = (x(start + (place + n) * bin_width - 0.5) for n in (0, 1))
            parts.append(
                f'<rect class="bar" x="{begin:.1f}" y="{y(count):.1f}" '
                f'width="{end - begin:.1f}" height="{bottom - y(count):.1f}"/>'
            )
    line = "L".join(f"{x(value):.1f} {y(height):.1f}" for value, height in curve)
    parts.append(f'<path class="expected" d="M{line}"/>')
    parts.append(f'<path class="axis" d="M{left} {bottom}H{right}"/>')
    step = 10 ** round(math.log10((stop - start) / 4))
    while (stop - start) / step > (8 if size[0] > 500 else 5):
        step *= 2
    first = math.ceil(start / step) * step
    for value in range(first, stop + 1, step):
        parts.append(
            f'<text x="{x(value):.1f}" y="{bottom + 17}" text-anchor="middle">{value:,}</text>'
        )
    parts.append(_marker(x(matches), top, bottom, f"{matches:,}: the owner’s key", "owner", "end"))
    middle = x(sum(keys) / len(keys))
    parts.append(
        f'<text class="note" x="{middle:.1f}" y="{top - 8}" text-anchor="middle">'
        f"{len(keys):,} wrong keys</text>"
    )
    needed = _needed(bits, reading.threshold_log10)
    if needed is not None:
        parts.append(_marker(x(needed), top + 22, bottom, f"{needed:,} needed", "limit", "end"))
    parts.append(
        f'<text class="name" x="{(left + right) / 2:.1f}" y="{size[1] - 6}" text-anchor="middle">'
        "bits that match</text>"
    )
    return (
        f'<svg viewBox="0 0 {size[0]} {size[1]}" role="img" aria-label="Bits that match under '
        f'wrong keys and under the owner’s">{"".join(parts)}</svg>'
    )


def _counts(keys: Sequence[int], start: int, width: int) -> list[int]:
    counts = [0] * ((max(keys) - start) // width + 1)
    for key in keys:
        counts[(key - start) // width] += 1
    return counts


def _expected(bits: int, keys: int, width: int, start: int, stop: int) -> list[tuple[int, float]]:
    """How many wrong keys a bin holds on average."""
    whole = math.lgamma(bits + 1) - bits * math.log(2)
    return [
        (m, keys * width * math.exp(whole - math.lgamma(m + 1) - math.lgamma(bits - m + 1)))
        for m in range(max(0, start), min(stop, bits) + 1)
    ]


def _needed(bits: int, threshold_log10: float | None) -> int | None:
    if threshold_log10 is None:
        return None
    # A hair of tolerance: the threshold came through base 10 and back.
    enough = (m for m in range(bits // 2, bits + 1)
              if log_binomial_tail(m, bits) <= threshold_log10 * LN10 * (1 - 1e-12))  # fmt: skip
    return next(enough, None)


def _marker(x: float, top: float, bottom: float, text: str, kind: str, anchor: str) -> str:
    shift = -6 if anchor == "end" else 6
    return (
        f'<path class="{kind}" d="M{x:.1f} {top - 16:.1f}V{bottom:.1f}"/>'
        f'<text class="{kind}-note" x="{x + shift:.1f}" y="{top - 7:.1f}" text-anchor="{anchor}">'
        f"{text}</text>"
    )
