"""The metrics of a robustness card, and the card as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from pydantic import JsonValue

from benchmarks.cards import Card
from benchmarks.markdown import table
from benchmarks.plots import COLORS
from benchmarks.records import Rate, Record
from modeldeed import Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Attacked", "Robustness", "plot", "render"]


class Attacked(Record):
    """One marked model after one attack.

    Attributes:
        host: the model.
        seed: of its training, its owner and the attack.
        attack: registered name; ``"none"`` for the model as it shipped.
        strength: in words.
        parameters: of the attack.
        data: what it learned from.
        accuracy_before: of the model as it shipped, on its own task's test part.
        accuracy_after: on the test part of the task that it learned last.
        plain_accuracy_after: the same of the unmarked twin; None where that was not attacked.
        steps: optimizer steps of the attack.
        original_steps: of the model's own training.
        seconds: wall time of the attack.
        bits: n of the owner's claim.
        matches: bits that read as claimed.
        required: matches that verify.
        median_margin: of the readable bits; 0 where none is.
        log10_p: before payment.
        verdict: at the default budget.
    """

    host: str
    seed: int
    attack: str
    strength: str
    parameters: dict[str, JsonValue]
    data: Literal["same", "tenth", "other", "none"]
    accuracy_before: Rate
    accuracy_after: Rate
    plain_accuracy_after: Rate | None
    steps: int
    original_steps: int
    seconds: float
    bits: int
    matches: int
    required: int
    median_margin: float
    log10_p: float
    verdict: Verdict


class Robustness(Record):
    """The metrics of a robustness card: every attack under every seed."""

    cells: tuple[Attacked, ...]


_HEADER = (
    "attack",
    "accuracy before",
    "after",
    "unmarked twin, after",
    "steps",
    "seconds",
    "bits matched",
    "median margin",
    "log10 p",
    "verdict",
)


def render(card: Card) -> str:
    """One row for each attack: mean costs over seeds, evidence of the worst seed.

    Args:
        card: a robustness card.

    Returns:
        A Markdown table and what its columns say.
    """
    cells = Robustness.model_validate(card.metrics).cells
    groups: dict[tuple[str, str, str], list[Attacked]] = {}
    for cell in cells:
        groups.setdefault((cell.host, cell.attack, cell.strength), []).append(cell)
    rows = [_row(group) for group in groups.values()]
    hosts = ", ".join(dict.fromkeys(cell.host for cell in cells))
    required = sorted({cell.required for cell in cells})
    needed = ", ".join(str(number) for number in required)
    return f"Host: {hosts}; {needed} bits needed.\n\n{table(_HEADER, rows)}\n\n{_LEGEND}"


def plot(card: Card, figure: Figure) -> None:
    """What an attack costs in accuracy, against the bits that it leaves.

    Args:
        card: a robustness card.
        figure: an empty one.
    """
    cells = [
        cell
        for cell in Robustness.model_validate(card.metrics).cells
        if cell.data != "other"  # another task's accuracy cannot be compared
    ]
    axes = figure.subplots()
    for place, attack in enumerate(dict.fromkeys(cell.attack for cell in cells)):
        own = [cell for cell in cells if cell.attack == attack]
        axes.plot(
            [100 * (cell.accuracy_before - cell.accuracy_after) for cell in own],
            [cell.matches / cell.bits for cell in own],
            "os^Dv*"[place // len(COLORS) % 6],
            color=COLORS[place % len(COLORS)],
            label=attack,
            ms=5,
        )
    needed = max(cell.required / cell.bits for cell in cells)
    axes.axhline(needed, color="#808080", ls=":", lw=1)
    axes.text(1, needed, " needed", transform=axes.get_yaxis_transform(), va="center")
    axes.axhline(0.5, color="#808080", ls="-", lw=0.5)
    axes.text(1, 0.5, " chance", transform=axes.get_yaxis_transform(), va="center")
    axes.set_xlabel("accuracy lost, points")
    axes.set_ylabel("bits matched, share")
    axes.grid(True)
    figure.legend(loc="outside right center", fontsize=8)


def _row(group: Sequence[Attacked]) -> tuple[str, ...]:
    worst = min(group, key=lambda cell: cell.matches)
    twins = [c.plain_accuracy_after for c in group if c.plain_accuracy_after is not None]
    name = worst.attack if worst.attack == "none" else f"{worst.attack}: {worst.strength}"
    return (
        name,
        f"{fmean(c.accuracy_before for c in group):.3f}",
        f"{fmean(c.accuracy_after for c in group):.3f}",
        f"{fmean(twins):.3f}" if twins else "–",
        f"{worst.steps / worst.original_steps:.2f}×" if worst.steps else "0",
        f"{fmean(c.seconds for c in group):.1f}",
        f"{worst.matches}/{worst.bits}",
        f"{worst.median_margin:.1f}",
        f"{worst.log10_p:.0f}",
        worst.verdict.value,
    )


_LEGEND = (
    "Accuracies in [0, 1], mean over seeds; after training on other data they are those on the "
    "other data. Steps: of the attack, relative to the model's own training. Bits matched, margin "
    "(in standard deviations of an unrelated weight), log10 p (before payment) and verdict (at "
    "the default budget) are those of the seed with the fewest matches. Energy: share of the "
    "inputs' variance that resampling keeps."
)
