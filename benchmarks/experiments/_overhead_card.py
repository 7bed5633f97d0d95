"""The metrics of an overhead card, and the card as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from benchmarks.cards import Card
from benchmarks.markdown import table
from benchmarks.plots import COLORS
from benchmarks.records import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Overhead", "Precision", "Variant", "plot", "render"]

_Positive = Annotated[float, Field(gt=0)]


class Variant(Record):
    """One schedule.

    Attributes:
        name: how the table calls it.
        share: part of the batch that goes through the private branch when it is due.
        interval: steps from one due step to the next.
        training_time_ratio: marked over plain, the median over repeats.
        time_ratios: of every repeat.
        peak_memory_ratio: marked over plain, of two steps in a process of their own.
        peak_bytes: of the marked one.
    """

    name: str
    share: float
    interval: int
    training_time_ratio: _Positive
    time_ratios: tuple[_Positive, ...]
    peak_memory_ratio: _Positive
    peak_bytes: int


class Precision(Record):
    """All schedules on one network.

    Attributes:
        net: its name.
        batch: samples per step.
        repeats: cycles of steps timed.
        plain_step_seconds: median seconds of a plain step.
        plain_peak_bytes: peak memory of plain training.
        training_time_ratio: of the default schedule.
        peak_memory_ratio: of the default schedule.
        published_schedule_time_ratio: of every sample through both branches in every step.
        variants: every schedule.
    """

    net: str
    batch: int
    repeats: int
    plain_step_seconds: _Positive
    plain_peak_bytes: int
    training_time_ratio: _Positive
    peak_memory_ratio: _Positive
    published_schedule_time_ratio: _Positive
    variants: tuple[Variant, ...]


class Overhead(Record):
    """The metrics of an overhead card."""

    nets: tuple[Precision, ...]


def plot(card: Card, figure: Figure) -> None:
    """Time and memory of every schedule, relative to plain training.

    Args:
        card: an overhead card.
        figure: an empty one.
    """
    nets = Overhead.model_validate(card.metrics).nets
    names = [variant.name for variant in nets[0].variants]
    for place, (axes, field, what) in enumerate(
        zip(
            figure.subplots(1, 2, sharey=True),
            ("training_time_ratio", "peak_memory_ratio"),
            ("time of a step", "peak memory"),
            strict=True,
        )
    ):
        for number, net in enumerate(nets):
            values = [getattr(variant, field) for variant in net.variants]
            label = net.net if place == 0 else None
            axes.plot(values, range(len(names)), "o", color=COLORS[number], label=label, ms=6)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel(f"{what}, marked over plain")
        axes.axvline(1, color="#808080", lw=1)
        axes.grid(True)
    figure.axes[0].invert_yaxis()
    figure.legend(loc="outside upper center", ncols=3, fontsize=8)


def render(card: Card) -> str:
    """An overhead card as Markdown."""
    nets = Overhead.model_validate(card.metrics).nets
    rows = [
        [
            f"{net.net}: {variant.name}",
            f"{variant.training_time_ratio:.2f}×",
            f"{min(variant.time_ratios):.2f} – {max(variant.time_ratios):.2f}",
            f"{variant.peak_memory_ratio:.2f}×",
        ]
        for net in nets
        for variant in net.variants
    ]
    plain = "; ".join(
        f"{net.net}: a plain step of {net.batch} samples takes {net.plain_step_seconds:.3f} s and "
        f"{net.plain_peak_bytes / 2**20:.0f} MiB"
        for net in nets
    )
    return "\n\n".join(
        [
            table(("schedule", "time", "lowest – highest", "peak memory"), rows),
            f"Marked over plain. {plain}. Time: whole intervals of steps that take turns in one "
            "process, the median over the repeats. Memory: the rise of resident memory over "
            "two steps in a process of their own, model and optimizer included.",
        ]
    )
