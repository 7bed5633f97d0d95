"""The metrics of a joint-step card, and the card as Markdown."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from benchmarks.cards import Card
from benchmarks.markdown import table
from benchmarks.records import Record

__all__ = ["JointStep", "Part", "Profile", "render"]

_Positive = Annotated[float, Field(gt=0)]


class Part(Record):
    """A part of a step that is due.

    Attributes:
        name: in words.
        seconds: median over the repeats.
        of_plain: the same relative to a plain step, median over interleaved pairs.
    """

    name: str
    seconds: _Positive
    of_plain: _Positive


class Profile(Record):
    """Where the time of one network's training goes.

    Attributes:
        net: its name.
        batch: samples per step.
        interval: a step is due every so many.
        plain_seconds: of a plain step, the optimizer's included; median.
        parts: of a due step beside the plain one.
        due_of_plain: a whole due step relative to a plain one.
    """

    net: str
    batch: int
    interval: int
    plain_seconds: _Positive
    parts: tuple[Part, ...]
    due_of_plain: _Positive

    @property
    def average(self) -> float:
        """The mean step relative to a plain one."""
        return 1 + (self.due_of_plain - 1) / self.interval


class JointStep(Record):
    """The metrics of a joint-step card."""

    nets: tuple[Profile, ...]


def render(card: Card) -> str:
    """One row per part and network.

    Args:
        card: a joint-step card.

    Returns:
        A Markdown table and what its columns say.
    """
    metrics = JointStep.model_validate(card.metrics)
    rows = [row for net in metrics.nets for row in _rows(net)]
    header = ("part of a due step", "ms", "of a plain step", "in the mean step")
    legend = (
        "Seconds of a plain step (forward, backward and optimizer) and of what a due step adds to "
        "it, median of interleaved repeats, each part by itself, so that parts need not add up to "
        "the whole. *In the mean step*: divided by the interval between due steps."
    )
    return f"{table(header, rows)}\n\n{legend}"


def _rows(net: Profile) -> list[tuple[str, ...]]:
    plain = (f"{net.net}: a plain step", f"{net.plain_seconds * 1e3:.1f}", "1.000", "1.000")
    parts = [
        (
            f"{net.net}: {part.name}",
            f"{part.seconds * 1e3:.1f}",
            f"{part.of_plain:.3f}",
            f"{part.of_plain / net.interval:.3f}",
        )
        for part in net.parts
    ]
    whole = f"{net.net}: the whole due step"
    due = f"{net.due_of_plain * net.plain_seconds * 1e3:.1f}"
    return [plain, *parts, (whole, due, f"{net.due_of_plain:.3f}", f"{net.average:.3f} on average")]
