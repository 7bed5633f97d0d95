"""The metrics of a fidelity card, and the card as Markdown."""

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

__all__ = ["Fidelity", "HostSummary", "Measured", "plot", "render"]


class Measured(Record):
    """One host under one seed.

    Attributes:
        host: its name.
        seed: of start, order and owner.
        plain_accuracy: of the network trained without a passport, on the test part.
        public_accuracy: of the marked network, passport-free, on the test part.
        private_accuracy: of the private branch with its trained statistics, on the test part.
        private_accuracy_reestimated: of it with statistics re-estimated, on the judge's part.
        decoy_accuracy_mean: of wrong keys under the same rule, on the judge's part.
        decoy_accuracy_max: of the best of them.
        decoys: how many were tried.
        signature_bits: n.
        signature_matches: bits that read as claimed.
        signature_match_rate: their share.
        log10_p: of that many matches by chance, unpaid.
        median_margin: of all bits, in standard deviations of an unrelated weight.
        plain_epoch_seconds: median over the epochs.
        marked_epoch_seconds: median over the epochs.
        training_time_ratio: marked over plain, the median over pairs of interleaved epochs.
        seconds: wall time of all training of both networks.
    """

    host: str
    seed: int
    plain_accuracy: Rate
    public_accuracy: Rate
    private_accuracy: Rate
    private_accuracy_reestimated: Rate
    decoy_accuracy_mean: Rate
    decoy_accuracy_max: Rate
    decoys: int
    signature_bits: int
    signature_matches: int
    signature_match_rate: Rate
    log10_p: float
    median_margin: float
    plain_epoch_seconds: float
    marked_epoch_seconds: float
    training_time_ratio: float
    seconds: float


class HostSummary(Record):
    """One host over its seeds.

    Attributes:
        host: its name.
        measures: every number of `Measured`, and the paired gaps ``public_minus_plain`` and
            ``private_minus_plain``.
    """

    host: str
    measures: dict[str, Summary]


class Fidelity(Record):
    """The metrics of a fidelity card."""

    cells: tuple[Measured, ...]
    summary: tuple[HostSummary, ...]

    @classmethod
    def of(cls, cells: Sequence[Measured]) -> Fidelity:
        """The metrics of some cells, summarized by host in the order of their first cells."""
        names = dict.fromkeys(cell.host for cell in cells)
        return cls(cells=tuple(cells), summary=tuple(_summary(name, cells) for name in names))


def _summary(name: str, cells: Sequence[Measured]) -> HostSummary:
    mine = [cell for cell in cells if cell.host == name]
    numbers = [n for n in Measured.model_fields if n not in ("host", "seed")]
    measures = {n: summarize([float(getattr(cell, n)) for cell in mine]) for n in numbers}
    for branch in ("public", "private"):
        gaps = [getattr(cell, f"{branch}_accuracy") - cell.plain_accuracy for cell in mine]
        measures[f"{branch}_minus_plain"] = summarize(gaps)
    return HostSummary(host=name, measures=measures)


_HEADER = (
    "host",
    "plain",
    "public − plain",
    "private − plain",
    "private, re-estimated",
    "wrong keys, mean (max)",
    "bits matched",
    "log10 p",
    "median margin",
    "training time",
)


def render(card: Card) -> str:
    """One row per host: means over seeds, the worst seed where one failure would be the news.

    Args:
        card: a fidelity card.

    Returns:
        A Markdown table and what its columns say.
    """
    metrics = Fidelity.model_validate(card.metrics)
    rows = [_row(entry, metrics.cells) for entry in metrics.summary]
    return f"{table(_HEADER, rows)}\n\n{_LEGEND}"


def plot(card: Card, figure: Figure) -> None:
    """Every seed's accuracies: without a passport, with it, and of the private branch.

    Args:
        card: a fidelity card.
        figure: an empty one.
    """
    metrics = Fidelity.model_validate(card.metrics)
    hosts = [entry.host for entry in metrics.summary]
    axes = figure.subplots()
    kinds = ("plain_accuracy", "public_accuracy", "private_accuracy", "decoy_accuracy_mean")
    names = ("plain", "public", "private", "private branch under wrong keys")
    for place, (kind, name) in enumerate(zip(kinds, names, strict=True)):
        axes.plot(
            [getattr(cell, kind) for cell in metrics.cells],
            [hosts.index(cell.host) + 0.15 * (place - 1.5) for cell in metrics.cells],
            "o",
            color=COLORS[place],
            label=name,
            ms=5,
        )
    axes.set_yticks(range(len(hosts)), hosts)
    axes.invert_yaxis()
    axes.set_xlabel("accuracy; one dot for each seed")
    axes.grid(True, axis="x")
    figure.legend(loc="outside upper center", ncols=4, fontsize=8)


_LEGEND = (
    "Accuracies in [0, 1], mean over seeds; gaps are paired by seed, ± the half-width of their "
    "95 % interval. Plain, public and private are measured on the whole test part, re-estimated "
    "and wrong keys on the judge's. Bits matched, log10 p (before payment) and margin (in "
    "standard deviations of an unrelated weight) are those of the worst seed, the largest wrong "
    "key is that of all seeds. Training time: marked over plain, interleaved."
)


def _row(entry: HostSummary, cells: Sequence[Measured]) -> tuple[str, ...]:
    m = entry.measures
    worst = min((c for c in cells if c.host == entry.host), key=lambda c: c.signature_match_rate)
    decoys = m["decoy_accuracy_mean"].mean, m["decoy_accuracy_max"].highest
    return (
        entry.host,
        f"{m['plain_accuracy'].mean:.3f}",
        with_interval(signed(m["public_minus_plain"].mean), m["public_minus_plain"]),
        with_interval(signed(m["private_minus_plain"].mean), m["private_minus_plain"]),
        f"{m['private_accuracy_reestimated'].mean:.3f}",
        f"{decoys[0]:.3f} ({decoys[1]:.3f})",
        f"{worst.signature_matches}/{worst.signature_bits}",
        f"{m['log10_p'].highest:.0f}",
        f"{m['median_margin'].lowest:.1f}",
        f"{m['training_time_ratio'].mean:.2f}×",
    )
