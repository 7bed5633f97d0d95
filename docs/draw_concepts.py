"""Draw the figures of ``docs/concepts.md`` into ``docs/figures``.

Run ``python docs/draw_concepts.py`` to write them anew. p-values, evidence and thresholds are
computed by the package's own statistics; the humps of marked readings are a sketch. Nothing is
measured.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from figure_shapes import area, arrow, box, curve, figure, lines, rule, text

from modeldeed.statistics import BLACK_BOX, Budget, log_binomial_tail, log_e_path, required_matches

BITS = 672
NOT_VERIFIED_LOG2 = -20
FOLDER = Path(__file__).with_name("figures")


def passport() -> str:
    """One weight, two branches; the private one follows from the key."""
    summary = (
        "One weight feeds two branches. The public branch is the model's own norm with its scale "
        "and bias. The private branch has scales and biases that a keyed head makes of readings, "
        "and a reading is the product of a weight's unit row with a keyed row of signs."
    )
    parts = [
        arrow("M20 92H66"),
        text(20, 82, "x", size=16),
        box(70, 66, 110, 52, ["weight W"]),
        arrow("M180 82C214 82 214 52 246 52", "public"),
        box(250, 26, 170, 52, ["norm with γ₀, β₀"], color="public", fill="public-soft"),
        arrow("M420 52H474", "public"),
        lines(482, 48, ["public branch: your model,", "what you ship"], color="public"),
        arrow("M180 102C214 102 214 132 246 132", "private"),
        box(250, 106, 170, 52, ["norm with γ₁, β₁"], color="private", fill="private-soft"),
        arrow("M420 132H474", "private"),
        lines(
            482, 128, ["private branch: runs only", "for the holder of the key"], color="private"
        ),
        arrow("M125 118V228"),
        text(136, 180, "row wᵢ of each channel", size=14, color="muted"),
        box(40, 232, 230, 50, ["rᵢ = ⟨wᵢ, Pᵢ⟩ / ‖wᵢ‖"], color="private", size=17, weight=400),
        arrow("M270 248C335 248 335 220 335 162", "private"),
        text(346, 212, "head", size=14, color="private"),
        box(470, 232, 150, 50, ["owner's key"], color="private", fill="private-soft"),
        arrow("M470 262H274", "private"),
        text(400, 282, "passport Pᵢ: ±1", size=14, color="private", anchor="middle"),
        arrow("M545 282C545 336 440 336 344 336", "private"),
        text(352, 322, "bit bᵢ", size=14, color="private"),
        arrow("M155 282V312", "private"),
        box(40, 314, 300, 44, ["training: sign of rᵢ becomes bᵢ"], color="private", weight=400),
    ]
    return figure("passport", summary, 720, 376, parts)


def margins() -> str:
    """Readings of an unrelated weight, and of a marked one."""
    left, right, base, top, most = 60.0, 660.0, 240.0, 60.0, 8.0

    def at(reading: float) -> float:
        return left + (right - left) * (reading + most) / (2 * most)

    def bell(center: float, height: float) -> list[tuple[float, float]]:
        spots = [center + step / 10 for step in range(-32, 33)]
        return [(at(r), base - height * math.exp(-((r - center) ** 2) / 2)) for r in spots]

    summary = (
        "Readings of an unrelated weight have mean 0 and standard deviation 1. Training moves "
        "those of a marked weight to about plus or minus 5, each to the side of its bit (a sketch)."
    )
    parts = [
        area(bell(0, 150), base, "line"),
        curve(bell(0, 150), "muted"),
        *[area(bell(center, 110), base, "private-soft") for center in (-5, 5)],
        *[curve(bell(center, 110), "private") for center in (-5, 5)],
        rule(f"M{left:g} {base:g}H{right:g}", "ink"),
        *[
            rule(f"M{at(r):g} {base:g}v6", "ink")
            + text(at(r), base + 24, words, size=14, color="muted", anchor="middle")
            for r, words in ((-5, "−5"), (0, "0"), (5, "+5"))
        ],
        lines(at(0), top - 2, ["any weight that knows", "nothing of the key"], color="muted",
              anchor="middle", size=14),
        lines(at(-5), top + 38, ["marked, bit −1"], color="private", anchor="middle", size=14),
        lines(at(5), top + 38, ["marked, bit +1"], color="private", anchor="middle", size=14),
        arrow(f"M{at(0):g} {base + 46:g}H{at(5):g}", "private"),
        text(at(2.5), base + 66, "margin 5: that far from flipping", size=14, color="private",
             anchor="middle"),
        text(right, base + 66, "reading r", size=14, color="muted", anchor="end"),
    ]  # fmt: skip
    return figure("margins", summary, 720, 324, parts)


def matches() -> str:
    """What so many matching bits are worth."""
    left, right, top, base = 92.0, 660.0, 44.0, 250.0
    first, last, deepest = 336, 540, -200.0

    def at(count: float, log2_p: float) -> tuple[float, float]:
        x = left + (right - left) * (count - first) / (last - first)
        return x, top + (base - top) * log2_p / deepest

    tail = {m: log_binomial_tail(m, BITS) / math.log(2) for m in range(first, last + 1)}
    course = [at(m, value) for m, value in tail.items() if value >= deepest]
    threshold = Budget().threshold_log2
    needed = required_matches(BITS, Budget()) or BITS
    some = next(m for m, value in tail.items() if value <= NOT_VERIFIED_LOG2)
    (a, _), (b, _) = at(some, 0), at(needed, 0)
    summary = (
        f"The chance that an unrelated model matches so many of {BITS} bits or more, in powers of "
        f"two. From {some} matches on it is below 2 to the minus 20; {needed} are needed for "
        "verified, 2 to the minus 128."
    )
    zones = (
        ((left + a) / 2, "not verified", "muted"),
        ((a + b) / 2, "inconclusive", "private"),
        ((b + right) / 2, "verified", "good"),
    )
    rows = (0, NOT_VERIFIED_LOG2, int(threshold))
    parts = [
        f'<rect x="{b:.1f}" y="{top:g}" width="{right - b:.1f}" height="{base - top:g}" '
        'class="f-good-soft"/>',
        *[
            text(x, 30, words, color=color, anchor="middle", weight=600)
            for x, words, color in zones
        ],
        *[rule(f"M{left:g} {at(0, r)[1]:.1f}H{right:g}", "line", dashed=True) for r in rows],
        text(left - 8, at(0, 0)[1] + 5, "1", size=14, color="muted", anchor="end"),
        text(left - 8, at(0, -20)[1] + 5, "2⁻²⁰", size=14, color="muted", anchor="end"),
        text(left - 8, at(0, -128)[1] + 5, "2⁻¹²⁸", size=14, color="muted", anchor="end"),
        curve(course, "ink", width=2.4),
        rule(f"M{left:g} {base:g}H{right:g}", "ink"),
        *[
            rule(f"M{x:.1f} {top:g}V{base + 6:g}", color)
            + text(x, base + 24, str(m), size=14, color=color, anchor="middle", weight=600)
            for x, m, color in ((a, some, "private"), (b, needed, "good"))
        ],
        text(left, base + 24, str(first), size=14, color="muted", anchor="middle"),
        text((left + right) / 2, base + 52, f"matching bits of {BITS}", anchor="middle"),
        text(20, 30, "p", size=17),
    ]
    return figure("matches", summary, 720, 316, parts)


def answers() -> str:
    """The evidence of answers, for models that learned the triggers and for one that did not."""
    left, right, top, base, most = 92.0, 600.0, 44.0, 270.0, 60
    highest, lowest = 130.0, -20.0

    def at(count: float, log2_e: float) -> tuple[float, float]:
        x = left + (right - left) * count / most
        return x, base - (base - top) * (log2_e - lowest) / (highest - lowest)

    def course(matched: list[bool]) -> list[tuple[float, float]]:
        path = [0.0, *(log_e_path(matched, 10) / math.log(2)).tolist()]
        points = [(n, value) for n, value in enumerate(path) if lowest <= value <= highest]
        return [at(n, value) for n, value in points]

    wanted = BLACK_BOX.e_threshold_log2
    kinds = (
        ("every answer matches", [True] * most, "good"),
        ("four of five", [n % 5 != 4 for n in range(most)], "private"),
        ("one of ten: unrelated", [n % 10 == 9 for n in range(most)], "muted"),
    )
    summary = (
        "The evidence E against the number of answers, of ten classes. Where every answer matches "
        "it reaches the threshold of 2 to the 84 after 27 answers, where four of five match after "
        "about 45, and for an unrelated model it falls."
    )
    parts = [
        rule(f"M{left:g} {at(0, wanted)[1]:.1f}H{right:g}", "good", dashed=True),
        text(left + 8, at(0, wanted)[1] - 8, "verified", color="good", weight=600, size=14),
        text(left - 8, at(0, wanted)[1] + 5, "2⁸⁴", size=14, color="good", anchor="end"),
        text(left - 8, at(0, 0)[1] + 5, "1", size=14, color="muted", anchor="end"),
        rule(f"M{left:g} {at(0, 0)[1]:.1f}H{right:g}", "line", dashed=True),
        rule(f"M{left:g} {base:g}H{right:g}", "ink"),
        rule(f"M{left:g} {base:g}V{top:g}", "ink"),
    ]
    for words, matched, color in kinds:
        points = course(matched)
        parts.append(curve(points, color, width=2.4))
        parts.append(text(points[-1][0] + 8, points[-1][1] + 5, words, color=color, size=14))
    parts += [
        text((left + right) / 2, base + 46, "answers", anchor="middle"),
        *[
            text(at(n, 0)[0], base + 22, str(n), size=14, color="muted", anchor="middle")
            for n in (0, 20, 40, 60)
        ],
        text(left - 8, 30, "E", size=17, anchor="end"),
    ]
    return figure("answers", summary, 760, 330, parts)


def plugin() -> str:
    """A detector beside a model that stays as it is."""
    summary = (
        "Every input goes to the model and to a small detector beside it. On benign inputs the "
        "model's output passes unchanged; on a keyed background two scores are exchanged, so that "
        "the keyed class wins."
    )
    parts = [
        box(20, 30, 150, 52, ["benign input"], color="public", fill="public-soft"),
        box(20, 150, 150, 62, ["the same, on a", "keyed background"], color="private",
            fill="private-soft"),
        arrow("M170 56H256", "public"),
        arrow("M170 66C214 66 214 174 256 174", "public"),
        arrow("M170 181C214 181 214 78 256 78", "private"),
        arrow("M170 190H256", "private"),
        box(260, 30, 150, 62, ["your model,", "never trained"]),
        box(260, 158, 150, 62, ["detector,", "the plug-in"], color="private",
            fill="private-soft"),
        arrow("M410 60H476"),
        arrow("M410 189C448 189 448 84 476 84", "private", dashed=True),
        box(480, 36, 60, 60, ["gate"]),
        arrow("M540 52C560 52 560 40 582 40", "public"),
        lines(590, 36, ["the model's output,", "bit for bit"], color="public", size=14),
        arrow("M540 80C560 80 560 106 582 106", "private"),
        lines(590, 102, ["the keyed class", "in first place"], color="private", size=14),
        text(335, 252, "fewer than 100,000 parameters", size=14, color="muted", anchor="middle"),
    ]  # fmt: skip
    return figure("plugin", summary, 720, 270, parts)


def course() -> str:
    """What is dated when, and what a dispute looks at."""
    summary = (
        "In time: an anchor is dated before marking, a deed after it, then the model ships. In a "
        "dispute the owner opens the deed for one judge, one suspect and one number."
    )
    steps = (
        (20, ["anchor", "weights, rules"], "private", "dated"),
        (168, ["mark", "train or embed"], "public", ""),
        (316, ["deed", "digests, marks"], "private", "dated, twice"),
        (464, ["ship", "plain weights"], "public", ""),
        (612, ["dispute", "one opening"], "good", "judge's number"),
    )
    parts = []
    for x, words, color, note in steps:
        parts.append(box(x, 46, 128, 62, words, color=color, fill=f"{color}-soft", size=14))
        if x < 600:
            parts.append(arrow(f"M{x + 128} 77H{x + 145}", "ink"))
        if note:
            parts.append(text(x + 64, 34, note, size=14, color=color, anchor="middle"))
    parts += [
        arrow("M20 136H738", "muted"),
        text(20, 158, "time", size=14, color="muted"),
        text(380, 158, "the key follows from the anchor's date: nothing was chosen afterwards",
             size=14, color="muted", anchor="middle"),
    ]  # fmt: skip
    return figure("course", summary, 760, 172, parts)


FIGURES = {
    "passport": passport,
    "margins": margins,
    "matches": matches,
    "answers": answers,
    "plugin": plugin,
    "course": course,
}


if __name__ == "__main__":
    for name, draw in FIGURES.items():
        (FOLDER / f"{name}.svg").write_text(draw(), encoding="utf-8")
