"""The metrics of a card of the experiment ``trigger-training``, and the card as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from benchmarks.cards import Card
from benchmarks.experiments._trigger_families_card import Kept
from benchmarks.markdown import signed, table, with_interval
from benchmarks.records import Rate, Record
from benchmarks.summaries import summarize

__all__ = ["Learned", "TriggerTrainings", "render"]


class Learned(Record):
    """A model that learned its triggers in one way.

    Attributes:
        host: the model.
        way: how it learned them.
        seed: of its start, its order of samples, its owner and its attacks.
        plain_accuracy: of the model of the same seed without triggers.
        seconds: of training; ``plain_seconds`` of that model.
        plain_seconds: see there.
        kept: match rate and accuracy as it shipped, and after every change.
    """

    host: str
    way: str
    seed: int
    plain_accuracy: Rate
    seconds: float
    plain_seconds: float
    kept: tuple[Kept, ...]

    @property
    def cost(self) -> float:
        """Accuracy as shipped minus that of the plain model."""
        return self.kept[0].accuracy - self.plain_accuracy


class TriggerTrainings(Record):
    """The metrics of a card."""

    cells: tuple[Learned, ...]


def render(card: Card) -> str:
    """One row for each way: what it costs, and what is left of the triggers.

    Args:
        card: of this experiment.

    Returns:
        Markdown.
    """
    cells = TriggerTrainings.model_validate(card.metrics).cells
    if not cells:
        return "No host was measured."
    changes = [kept.change for kept in cells[0].kept]
    ways = dict.fromkeys(cell.way for cell in cells)
    rows = [_row(way, [cell for cell in cells if cell.way == way]) for way in ways]
    header = ("triggers", "accuracy − plain", "training", *changes)
    return f"{cells[0].host}.\n\n{table(header, rows)}\n\n{_LEGEND}"


_LEGEND = (
    "Match rates, mean over seeds with the lowest in brackets: share of the triggers that are "
    "answered with their labels. Accuracy: mean of differences paired by seed, with the half-width "
    "of its 95 % interval. Training: seconds over those of the plain model, which did not take "
    "turns, so roughly. New classifier: the last layer is drawn anew and learns the same classes."
)


def _row(way: str, cells: Sequence[Learned]) -> list[str]:
    costs = summarize([cell.cost for cell in cells])
    ratio = fmean(cell.seconds / cell.plain_seconds for cell in cells)
    row = [way, with_interval(signed(costs.mean), costs), f"{ratio:.2f}×"]
    for place in range(len(cells[0].kept)):
        rates = [cell.kept[place].rate for cell in cells]
        row.append(f"{fmean(rates):.2f} ({min(rates):.2f})")
    return row
