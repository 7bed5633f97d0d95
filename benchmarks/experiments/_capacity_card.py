"""The metrics of a capacity card, the card as Markdown, and its figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.cards import Card
from benchmarks.markdown import signed, table, with_interval
from benchmarks.plots import COLORS
from benchmarks.records import Rate, Record
from benchmarks.summaries import Summary, summarize

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Capacities", "Marked", "plot", "render"]


class Marked(Record):
    """One way to mark under one seed.

    Attributes:
        group: what was varied.
        variant: how.
        seed: of start, order and owner.
        width: of the network's first stage.
        weights: of all its layers.
        bits: n.
        matches: bits that read as claimed.
        median_margin: in standard deviations of an unrelated weight.
        plain_accuracy: of the network of that width and seed without a passport, on the test part.
        public_accuracy: of the marked one.
        private_accuracy: of its private branch.
        tuned_accuracy: of the marked one after fine-tuning all layers.
        tuned_matches: bits that read as claimed then.
        seconds: wall time of the training.
    """

    group: str
    variant: str
    seed: int
    width: int
    weights: int
    bits: int
    matches: int
    median_margin: float
    plain_accuracy: Rate
    public_accuracy: Rate
    private_accuracy: Rate
    tuned_accuracy: Rate
    tuned_matches: int
    seconds: float


class VariantSummary(Record):
    """One way to mark over its seeds; gaps are paired with the plain network of the same seed.

    Attributes:
        group: what was varied.
        variant: how.
        width: of the network's first stage.
        bits: n.
        weights_per_bit: of the whole network.
        plain: accuracy without a passport.
        public_minus_plain: of the marked network.
        private_minus_plain: of its private branch.
        matches: bits read.
        median_margin: of all bits.
        tuned_minus_plain: of the marked network after fine-tuning.
        tuned_matches: bits read then.
    """

    group: str
    variant: str
    width: int
    bits: int
    weights_per_bit: float
    plain: Summary
    public_minus_plain: Summary
    private_minus_plain: Summary
    matches: Summary
    median_margin: Summary
    tuned_minus_plain: Summary
    tuned_matches: Summary


class Capacities(Record):
    """The metrics of a capacity card."""

    cells: tuple[Marked, ...]
    summary: tuple[VariantSummary, ...]

    @classmethod
    def of(cls, cells: Sequence[Marked]) -> Capacities:
        """The metrics of some cells, summarized in the order of their first cells."""
        names = dict.fromkeys(cell.variant for cell in cells)
        summary = (_summary([cell for cell in cells if cell.variant == name]) for name in names)
        return cls(cells=tuple(cells), summary=tuple(summary))


def _summary(cells: Sequence[Marked]) -> VariantSummary:
    first = cells[0]
    return VariantSummary(
        group=first.group,
        variant=first.variant,
        width=first.width,
        bits=first.bits,
        weights_per_bit=first.weights / first.bits,
        plain=summarize([c.plain_accuracy for c in cells]),
        public_minus_plain=summarize([c.public_accuracy - c.plain_accuracy for c in cells]),
        private_minus_plain=summarize([c.private_accuracy - c.plain_accuracy for c in cells]),
        matches=summarize([c.matches for c in cells]),
        median_margin=summarize([c.median_margin for c in cells]),
        tuned_minus_plain=summarize([c.tuned_accuracy - c.plain_accuracy for c in cells]),
        tuned_matches=summarize([c.tuned_matches for c in cells]),
    )


_HEADER = (
    "marked", "width", "bits", "weights per bit", "plain", "public − plain", "private − plain",
    "bits read, worst seed", "median margin", "fine-tuned − plain", "bits left, worst seed",
)  # fmt: skip
_LEGEND = (
    "Bits against accuracy: the more layers are marked, and the wider they are, the more bits. "
    "Width: channels of the first stage; weights per bit: those of the whole network. Accuracies "
    "in [0, 1] on the test part; gaps are paired by seed with the unmarked network of the same "
    "width, ± the half-width of their 95 % interval. Margins, medians over bits and means over "
    "seeds, are in standard deviations of an unrelated weight. Fine-tuned: all layers, on the same "
    "data, at the host's own rate, for a third of its epochs."
)


def render(card: Card) -> str:
    """A capacity card as Markdown.

    Args:
        card: of this experiment.

    Returns:
        A Markdown table and what its columns say.
    """
    metrics = Capacities.model_validate(card.metrics)
    return f"{table(_HEADER, [_row(entry) for entry in metrics.summary])}\n\n{_LEGEND}"


def _row(entry: VariantSummary) -> tuple[str, ...]:
    gaps = [
        with_interval(signed(gap.mean), gap)
        for gap in (entry.public_minus_plain, entry.private_minus_plain, entry.tuned_minus_plain)
    ]
    return (
        entry.variant,
        str(entry.width),
        f"{entry.bits:,}",
        f"{entry.weights_per_bit:,.0f}",
        f"{entry.plain.mean:.3f}",
        *gaps[:2],
        f"{entry.matches.lowest:,.0f}/{entry.bits:,}",
        f"{entry.median_margin.mean:.1f}",
        gaps[2],
        f"{entry.tuned_matches.lowest:,.0f}/{entry.bits:,}",
    )


def plot(card: Card, figure: Figure) -> None:
    """Bits against what they cost, and against what is left of them after fine-tuning.

    Args:
        card: a capacity card.
        figure: an empty one.
    """
    metrics = Capacities.model_validate(card.metrics)
    upper, lower = figure.subplots(2, 1, sharex=True)
    for axes, measure in ((upper, _gap), (lower, _left)):
        for color, group in enumerate(dict.fromkeys(cell.group for cell in metrics.cells)):
            mine = [cell for cell in metrics.cells if cell.group == group]
            axes.plot(
                [cell.bits for cell in mine],
                [measure(cell) for cell in mine],
                "o",
                color=COLORS[color],
                label=group,
                ms=5,
            )
        axes.grid(True)
        axes.set_xscale("log")
    upper.set_ylabel("public − plain accuracy")
    lower.set_ylabel("share of bits left\nafter fine-tuning")
    lower.set_xlabel("bits; one dot for each seed")
    handles, labels = upper.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=8)


def _gap(cell: Marked) -> float:
    return cell.public_accuracy - cell.plain_accuracy


def _left(cell: Marked) -> float:
    return cell.tuned_matches / cell.bits
