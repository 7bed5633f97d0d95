"""The metrics of a card of the experiment ``blackbox-robustness``, and the card as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean, median

from benchmarks.cards import Card
from benchmarks.experiments._sweep import Learned
from benchmarks.markdown import table
from benchmarks.records import Rate, Record
from modeldeed import Verdict

__all__ = ["Asked", "BlackboxRobustness", "render"]


class Asked(Record):
    """A marked model that was asked after one change.

    Attributes:
        host: the mark's name.
        seed: of training, owner and change.
        change: in words.
        data: what the change learned from.
        accuracy_before: of the marked model on the host's own test part.
        accuracy_after: of the changed one; after a transfer on the other data, behind a distortion
            with the test part distorted alike.
        triggers: all that the model learned.
        match_rate: share of them that the changed model answers with their labels.
        queries: of the judge's query of the first batch, until it was decided.
        matches: of them.
        log10_e: evidence at its end.
        log10_p_paid: 1/E after payment for grinding.
        verdict: of the query.
        steps: optimizer steps of the change.
        original_steps: of the model's own training.
        seconds: wall time of the change.
    """

    host: str
    seed: int
    change: str
    data: Learned
    accuracy_before: Rate
    accuracy_after: Rate
    triggers: int
    match_rate: Rate
    queries: int
    matches: int
    log10_e: float
    log10_p_paid: float
    verdict: Verdict
    steps: int
    original_steps: int
    seconds: float


class BlackboxRobustness(Record):
    """The metrics of a card: every change under every seed."""

    cells: tuple[Asked, ...]


_HEADER = (
    "change", "accuracy before", "after", "steps", "match rate", "lowest", "queries",
    "log10 p, paid", "verdict",
)  # fmt: skip


def render(card: Card) -> str:
    """One table for each host, one row for each change.

    Args:
        card: of this experiment.

    Returns:
        Markdown.
    """
    cells = BlackboxRobustness.model_validate(card.metrics).cells
    if not cells:
        return "No host was measured."
    parts = []
    for host in dict.fromkeys(cell.host for cell in cells):
        groups: dict[str, list[Asked]] = {}
        for cell in cells:
            if cell.host == host:
                groups.setdefault(cell.change, []).append(cell)
        count = len({cell.seed for cell in cells if cell.host == host})
        seeds = "one seed" if count == 1 else f"{count} seeds"
        rows = [_row(group) for group in groups.values()]
        parts += [f"Host: {host}; {seeds}.", table(_HEADER, rows)]
    return "\n\n".join([*parts, _LEGEND])


def _row(group: Sequence[Asked]) -> tuple[str, ...]:
    worst = max(group, key=lambda cell: cell.log10_p_paid)
    verdicts = Counter(cell.verdict.value for cell in group)
    words = [f"{word} {count}×" if len(group) > 1 else word for word, count in verdicts.items()]
    return (
        group[0].change,
        f"{fmean(cell.accuracy_before for cell in group):.3f}",
        f"{fmean(cell.accuracy_after for cell in group):.3f}",
        f"{worst.steps / worst.original_steps:.2f}×" if worst.steps else "0",
        f"{fmean(cell.match_rate for cell in group):.2f}",
        f"{min(cell.match_rate for cell in group):.2f}",
        f"{median(cell.queries for cell in group):g}",
        f"{worst.log10_p_paid:.1f}",
        ", ".join(words),
    )


_LEGEND = (
    "Accuracies in [0, 1], mean over seeds; after a transfer on the other data, behind a "
    "distortion with the test inputs distorted alike. Steps: of the change, relative to the "
    "model's own training. Match rate: share of all triggers that are answered with their labels, "
    "mean and lowest over seeds; 1/K by chance. Queries: of the judge's query of one batch until "
    "it was decided, median over seeds. log10 p, of the seed where it is largest: 1/E after "
    "payment of 2^64 tries; at −6.02 it verifies. FTLL, RTLL: the last layer alone trained on, "
    "as it is or drawn anew; FTAL, RTAL: all layers. What was transferred to other classes has "
    "outputs of another meaning: their numbers are compared with labels all the same, so nothing "
    "but chance is expected, and black-box answers cannot show where its features come from. A "
    "student never saw a trigger: what it was taught are answers to other inputs."
)
