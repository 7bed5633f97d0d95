"""The metrics of an ablation card, and the card as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.cards import Card
from benchmarks.markdown import signed, table, with_interval
from benchmarks.records import Rate, Record
from benchmarks.summaries import Summary, summarize

__all__ = ["Ablations", "Measured", "render"]


class Measured(Record):
    """One variant under one seed.

    Attributes:
        variant: its name.
        seed: of start, order and owner.
        public_accuracy: of the marked network, on the test part.
        private_accuracy: of the private branch with its own trained statistics.
        private_accuracy_shared_statistics: of it with the public branch's statistics.
        private_accuracy_reestimated: of it with re-estimated statistics, on the judge's part.
        decoy_accuracy_max: of the best wrong key under the same rule.
        signature_bits: n.
        signature_matches: bits that read as claimed.
        median_margin: in standard deviations of an unrelated weight.
        seconds: wall time of its training.
    """

    variant: str
    seed: int
    public_accuracy: Rate
    private_accuracy: Rate
    private_accuracy_shared_statistics: Rate
    private_accuracy_reestimated: Rate
    decoy_accuracy_max: Rate
    signature_bits: int
    signature_matches: int
    median_margin: float
    seconds: float


class VariantSummary(Record):
    """One variant over its seeds; gaps are paired with the plain network of the same seed."""

    variant: str
    public_minus_plain: Summary
    private_minus_plain: Summary
    shared_minus_separate: Summary
    separation: Summary
    match_rate: Summary
    median_margin: Summary


class Ablations(Record):
    """The metrics of an ablation card."""

    plain: dict[int, float]
    cells: tuple[Measured, ...]
    summary: tuple[VariantSummary, ...]

    @classmethod
    def of(cls, cells: Sequence[Measured], plain: Mapping[int, float]) -> Ablations:
        """The metrics of some cells, summarized by variant in the order of their first cells."""
        names = dict.fromkeys(cell.variant for cell in cells)
        summary = tuple(
            _summary(name, [cell for cell in cells if cell.variant == name], plain)
            for name in names
        )
        return cls(plain=dict(plain), cells=tuple(cells), summary=summary)


def _summary(name: str, cells: Sequence[Measured], plain: Mapping[int, float]) -> VariantSummary:
    return VariantSummary(
        variant=name,
        public_minus_plain=summarize([c.public_accuracy - plain[c.seed] for c in cells]),
        private_minus_plain=summarize([c.private_accuracy - plain[c.seed] for c in cells]),
        shared_minus_separate=summarize(
            [c.private_accuracy_shared_statistics - c.private_accuracy for c in cells]
        ),
        separation=summarize(
            [c.private_accuracy_reestimated - c.decoy_accuracy_max for c in cells]
        ),
        match_rate=summarize([c.signature_matches / c.signature_bits for c in cells]),
        median_margin=summarize([c.median_margin for c in cells]),
    )


def render(card: Card) -> str:
    """An ablation card as Markdown."""
    metrics = Ablations.model_validate(card.metrics)
    rows = [_row(entry) for entry in metrics.summary]
    header = (
        "variant",
        "public − plain",
        "private − plain",
        "with shared statistics",
        "above the best wrong key",
        "bits matched, worst seed",
        "median margin",
    )
    plain = summarize(list(metrics.plain.values())) if metrics.plain else None
    said = f"Plain accuracy {with_interval(f'{plain.mean:.3f}', plain)}; " if plain else ""
    return "\n\n".join(
        [
            table(header, rows),
            f"{said}gaps are paired by seed, ± the half-width of their 95 % interval. *With shared "
            "statistics*: what the private branch loses when it is given the public branch's batch "
            "statistics instead of its own. *Above the best wrong key*: private accuracy after "
            "re-estimation minus that of the best wrong key.",
        ]
    )


def _row(entry: VariantSummary) -> list[str]:
    gaps = (entry.public_minus_plain, entry.private_minus_plain)
    return [
        entry.variant,
        *(with_interval(signed(gap.mean), gap) for gap in gaps),
        signed(entry.shared_minus_separate.mean),
        signed(entry.separation.mean),
        f"{entry.match_rate.lowest:.4f}",
        f"{entry.median_margin.mean:.1f}",
    ]
