"""The metrics of a card of the experiment ``blackbox-queries``, and the card as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean, median

from benchmarks.cards import Card
from benchmarks.markdown import signed, table
from benchmarks.records import Rate, Record
from modeldeed import Verdict

__all__ = ["BlackboxQueries", "Fresh", "Query", "render"]


class Query(Record):
    """One query of one batch.

    Attributes:
        batch: its number.
        queries: until it was decided.
        matches: of them.
        log10_e: evidence at its end.
        verdict: what was decided.
    """

    batch: int
    queries: int
    matches: int
    log10_e: float
    verdict: Verdict


class Fresh(Record):
    """A freshly marked model and its twin.

    Attributes:
        host: the mark's name.
        seed: of start, order of samples and owner.
        classes: K.
        family: of the triggers.
        information_limit: queries that no test can undercut.
        plain_accuracy: of the twin without triggers, on the test part.
        accuracy: of the marked model.
        match_rate: share of all triggers that the marked model answers with their labels.
        plain_match_rate: the same of the twin.
        marked: the marked model's queries, batch by batch.
        plain: the twin's.
    """

    host: str
    seed: int
    classes: int
    family: str
    information_limit: float
    plain_accuracy: Rate
    accuracy: Rate
    match_rate: Rate
    plain_match_rate: Rate
    marked: tuple[Query, ...]
    plain: tuple[Query, ...]


class BlackboxQueries(Record):
    """The metrics of a card.

    Attributes:
        median_queries: of marked models until they were verified, over hosts, seeds and batches;
            None where none was.
        information_limit: queries that no test can undercut, mean over the same.
        verdicts: how often each was given on marked models.
        plain_verdicts: the same on their twins.
        cells: model by model.
    """

    median_queries: float | None
    information_limit: float | None
    verdicts: dict[str, int]
    plain_verdicts: dict[str, int]
    cells: tuple[Fresh, ...]

    @classmethod
    def of(cls, cells: Sequence[Fresh]) -> BlackboxQueries:
        """The metrics of any number of models."""
        verified = [
            (asked.queries, cell.information_limit)
            for cell in cells
            for asked in cell.marked
            if asked.verdict is Verdict.VERIFIED
        ]
        return cls(
            median_queries=median(n for n, _ in verified) if verified else None,
            information_limit=fmean(limit for _, limit in verified) if verified else None,
            verdicts=Counter(asked.verdict.value for cell in cells for asked in cell.marked),
            plain_verdicts=Counter(asked.verdict.value for cell in cells for asked in cell.plain),
            cells=tuple(cells),
        )


_HEADER = (
    "host", "K", "limit", "accuracy plain", "with triggers", "difference", "match rate",
    "of the twin", "queries, marked", "verdicts", "queries, twin", "verdicts",
)  # fmt: skip


def render(card: Card) -> str:
    """One row for each host.

    Args:
        card: of this experiment.

    Returns:
        Markdown.
    """
    metrics = BlackboxQueries.model_validate(card.metrics)
    if not metrics.cells:
        return "No host was measured."
    groups: dict[str, list[Fresh]] = {}
    for cell in metrics.cells:
        groups.setdefault(cell.host, []).append(cell)
    return f"{table(_HEADER, [_row(group) for group in groups.values()])}\n\n{_LEGEND}"


def _row(group: Sequence[Fresh]) -> tuple[str, ...]:
    first = group[0]
    plain, marked = (
        fmean(getattr(cell, name) for cell in group) for name in ("plain_accuracy", "accuracy")
    )
    return (
        first.host,
        str(first.classes),
        f"{first.information_limit:.1f}",
        f"{plain:.3f}",
        f"{marked:.3f}",
        signed(marked - plain),
        f"{fmean(cell.match_rate for cell in group):.3f}",
        f"{fmean(cell.plain_match_rate for cell in group):.3f}",
        *_queries([asked for cell in group for asked in cell.marked]),
        *_queries([asked for cell in group for asked in cell.plain]),
    )


def _queries(asked: Sequence[Query]) -> tuple[str, str]:
    numbers = [one.queries for one in asked]
    verdicts = Counter(one.verdict.value for one in asked)
    return (
        f"{median(numbers):g} ({min(numbers)} … {max(numbers)})",
        ", ".join(f"{word} {count}×" for word, count in verdicts.items()),
    )


_LEGEND = (
    "Limit: log(2^g/α)/log K, the queries that no valid test can undercut, for a claim without a "
    "timestamp. Accuracies are means over seeds, marked and plain models trained in turns on the "
    "same batches. Match rate: of all triggers. Queries: the median and range over seeds and "
    "batches, each batch asked by itself until the evidence decided."
)
