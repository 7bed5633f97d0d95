"""The metrics of a card of ``plugin-robustness``, and the card as Markdown."""

from __future__ import annotations

from benchmarks.cards import Card
from benchmarks.markdown import table
from benchmarks.records import Rate, Record
from modeldeed import Verdict

__all__ = ["AfterChange", "PluginRobustness", "render"]


class AfterChange(Record):
    """A fused model that was asked after one change of it, or of what it is shown.

    Attributes:
        host: kind of input, data and backgrounds.
        target: the network.
        seed: of keys, targets and changes.
        change: in words.
        accuracy_before: of the fused model on the test part.
        accuracy_after: of the changed one; behind a distortion with the test part distorted alike.
        verification_rate: verification samples answered with the keyed class: every background
            once, on test carriers.
        false_activation_rate: benign test samples, distorted alike, that the changed detector
            takes for verification samples; None where it cannot be told.
        queries: of the judge's query of the first batch.
        log10_e: evidence at its end.
        verdict: of the query.
        steps: optimizer steps of the change.
        original_steps: of the target's own training.
    """

    host: str
    target: str
    seed: int
    change: str
    accuracy_before: Rate
    accuracy_after: Rate
    verification_rate: Rate
    false_activation_rate: Rate | None
    queries: int
    log10_e: float
    verdict: Verdict
    steps: int
    original_steps: int


class PluginRobustness(Record):
    """The metrics of a card: every change of every fused model."""

    cells: tuple[AfterChange, ...]


_HEADER = (
    "change", "accuracy before", "after", "steps", "verification rate", "false activations",
    "queries", "log10 E", "verdict",
)  # fmt: skip


def render(card: Card) -> str:
    """One table for each fused model and seed, one row for each change.

    Args:
        card: of this experiment.

    Returns:
        Markdown.
    """
    cells = PluginRobustness.model_validate(card.metrics).cells
    if not cells:
        return "No host was measured."
    parts = []
    for key in dict.fromkeys((cell.host, cell.target, cell.seed) for cell in cells):
        rows = [_row(cell) for cell in cells if (cell.host, cell.target, cell.seed) == key]
        parts += [f"Plug-in {key[0]} beside {key[1]}, seed {key[2]}.", table(_HEADER, rows)]
    return "\n\n".join([*parts, _LEGEND])


def _row(cell: AfterChange) -> tuple[str, ...]:
    false = cell.false_activation_rate
    return (
        cell.change,
        f"{cell.accuracy_before:.3f}",
        f"{cell.accuracy_after:.3f}",
        f"{cell.steps / cell.original_steps:.2f}×" if cell.steps else "0",
        f"{cell.verification_rate:.3f}",
        "" if false is None else f"{false:.1e}",
        f"{cell.queries}",
        f"{cell.log10_e:.1f}",
        cell.verdict.value,
    )


_LEGEND = (
    "Every change is made to the fused model as a whole, plug-in included. Steps: of the change, "
    "relative to the target's own training. Verification rate: verification samples that are "
    "answered with the keyed class, 1/K by chance. False activations: benign test samples taken "
    "for verification samples after the change. log10 E verifies from 25.3 on. FTLL, RTLL: the "
    "last layer alone trained on, as it is or drawn anew; FTAL, RTAL: all parameters."
)
