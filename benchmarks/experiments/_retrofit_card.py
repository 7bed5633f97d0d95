"""The metrics of a retrofit card, and the card as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.cards import Card
from benchmarks.markdown import signed, table, with_interval
from benchmarks.records import Rate, Record
from benchmarks.summaries import Summary, summarize

__all__ = ["Measured", "Retrofit", "render"]


class Measured(Record):
    """One host under one seed.

    Attributes:
        host: its name.
        seed: of start, order and owner.
        frozen_statistics: whether the public running statistics were left as they were.
        plain_accuracy: of the trained network before, on the test part.
        public_accuracy: of the marked network, passport-free, on the test part.
        accuracy_cost: the former less the latter.
        private_accuracy: of the private branch, on the test part.
        private_accuracy_reestimated: of it with statistics re-estimated, on the judge's part.
        decoy_accuracy_mean: of wrong keys under the same rule, on the judge's part.
        decoy_accuracy_max: of the best of them.
        decoys: how many were tried.
        original_steps: of the training.
        steps: of the retrofit.
        step_fraction: the latter over the former.
        signature_bits: n.
        signature_matches: bits that read as claimed.
        median_margin: of all bits, in standard deviations of an unrelated weight.
        training_seconds: wall time of the training.
        retrofit_seconds: wall time of the retrofit.
    """

    host: str
    seed: int
    frozen_statistics: bool
    plain_accuracy: Rate
    public_accuracy: Rate
    accuracy_cost: float
    private_accuracy: Rate
    private_accuracy_reestimated: Rate
    decoy_accuracy_mean: Rate
    decoy_accuracy_max: Rate
    decoys: int
    original_steps: int
    steps: int
    step_fraction: float
    signature_bits: int
    signature_matches: int
    median_margin: float
    training_seconds: float
    retrofit_seconds: float


class HostSummary(Record):
    """One host over its seeds; frozen and moving statistics apart.

    Attributes:
        host: its name.
        frozen_statistics: whether the public running statistics were left as they were.
        measures: every number of `Measured`.
    """

    host: str
    frozen_statistics: bool
    measures: dict[str, Summary]


class Retrofit(Record):
    """The metrics of a retrofit card."""

    cells: tuple[Measured, ...]
    summary: tuple[HostSummary, ...]

    @classmethod
    def of(cls, cells: Sequence[Measured]) -> Retrofit:
        """The metrics of some cells, summarized by host in the order of their first cells."""
        kinds = dict.fromkeys((cell.host, cell.frozen_statistics) for cell in cells)
        return cls(
            cells=tuple(cells),
            summary=tuple(_summary(*kind, _of_kind(cells, *kind)) for kind in kinds),
        )


def _of_kind(cells: Sequence[Measured], host: str, frozen: bool) -> list[Measured]:
    return [cell for cell in cells if (cell.host, cell.frozen_statistics) == (host, frozen)]


def _summary(host: str, frozen: bool, cells: Sequence[Measured]) -> HostSummary:
    numbers = set(Measured.model_fields) - {"host", "seed", "frozen_statistics"}
    measures = {n: summarize([float(getattr(c, n)) for c in cells]) for n in sorted(numbers)}
    return HostSummary(host=host, frozen_statistics=frozen, measures=measures)


_HEADER = (
    "host",
    "steps (share)",
    "plain",
    "public − plain",
    "private − plain",
    "wrong keys, mean (max)",
    "bits matched",
    "median margin",
    "training",
    "retrofit",
)
_LEGEND = (
    "Accuracies in [0, 1] on the whole test part, mean over seeds; gaps are paired by seed, ± the "
    "half-width of their 95 % interval. Wrong keys: on the judge's part, statistics re-estimated, "
    "the largest of all seeds. Bits matched and margin are those of the worst seed. *Frozen*: the "
    "public running statistics were left as they were. Times in seconds."
)


def render(card: Card) -> str:
    """One row per host: means over seeds, the worst seed where one failure would be the news.

    Args:
        card: a retrofit card.

    Returns:
        A Markdown table and what its columns say.
    """
    metrics = Retrofit.model_validate(card.metrics)
    rows = [
        _row(entry, _of_kind(metrics.cells, entry.host, entry.frozen_statistics))
        for entry in metrics.summary
    ]
    return f"{table(_HEADER, rows)}\n\n{_LEGEND}"


def _row(entry: HostSummary, cells: Sequence[Measured]) -> tuple[str, ...]:
    m = entry.measures
    worst = min(cells, key=lambda cell: cell.signature_matches / cell.signature_bits)
    gaps = [
        summarize([getattr(cell, f"{branch}_accuracy") - cell.plain_accuracy for cell in cells])
        for branch in ("public", "private")
    ]
    return (
        entry.host + (", frozen" if entry.frozen_statistics else ""),
        f"{worst.steps} ({worst.step_fraction:.3f})",
        f"{m['plain_accuracy'].mean:.3f}",
        *(with_interval(signed(gap.mean), gap) for gap in gaps),
        f"{m['decoy_accuracy_mean'].mean:.3f} ({m['decoy_accuracy_max'].highest:.3f})",
        f"{worst.signature_matches}/{worst.signature_bits}",
        f"{m['median_margin'].lowest:.1f}",
        f"{m['training_seconds'].mean:.0f}",
        f"{m['retrofit_seconds'].mean:.0f}",
    )
