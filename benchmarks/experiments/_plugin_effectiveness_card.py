"""The metrics of a card of ``plugin-effectiveness``, and the card as Markdown."""

from __future__ import annotations

from collections import Counter

from benchmarks.cards import Card
from benchmarks.markdown import table
from benchmarks.records import Rate, Record
from modeldeed import Verdict

__all__ = ["Beside", "Null", "PluginEffectiveness", "render"]


class Null(Record):
    """A suspect that carries no plug-in of the claimant's.

    Attributes:
        name: which one.
        matches: of its answers, those that are the key's classes.
        queries: its answers.
        verdict: of the query.
    """

    name: str
    matches: int
    queries: int
    verdict: Verdict


class Beside(Record):
    """A plug-in beside one target.

    Attributes:
        host: kind of input, data and backgrounds.
        target: the network.
        seed: of keys, targets and training.
        backgrounds: M.
        classes: K.
        detector_parameters: all that the fusion adds.
        training_seconds: of the plug-in.
        accuracy: of the bare target on the test part.
        fused_accuracy: of the fused model.
        success_rate: verification samples answered with the keyed class: every background on
            carriers of the test part.
        verification_samples: how many.
        false_activation_rate: benign test samples that are taken for verification samples.
        false_activation_upper: upper end of its exact 95 % interval.
        benign_samples: how many.
        benign_outputs_identical: on all others, the fused outputs are the target's bit for bit.
        other_key_rate: verification samples of other owners that are taken for the owner's.
        other_key_upper: upper end of its exact 95 % interval.
        other_key_samples: how many.
        confidence_distance: largest distance between the distributions of the top probability, on
            verification and on benign samples.
        queries: answers until each batch was decided.
        median_queries: of them.
        information_limit: log(2^g/α)/log K.
        verdicts: of each batch.
        nulls: suspects that nothing must be found in.
    """

    host: str
    target: str
    seed: int
    backgrounds: int
    classes: int
    detector_parameters: int
    training_seconds: float
    accuracy: Rate
    fused_accuracy: Rate
    success_rate: Rate
    verification_samples: int
    false_activation_rate: Rate
    false_activation_upper: Rate
    benign_samples: int
    benign_outputs_identical: bool
    other_key_rate: Rate
    other_key_upper: Rate
    other_key_samples: int
    confidence_distance: Rate
    queries: tuple[int, ...]
    median_queries: float
    information_limit: float
    verdicts: tuple[Verdict, ...]
    nulls: tuple[Null, ...]


class PluginEffectiveness(Record):
    """The metrics of a card: every target under every seed."""

    cells: tuple[Beside, ...]


_HEADER = (
    "plug-in", "target", "accuracy", "fused", "success", "false activations", "other keys",
    "identical", "queries", "limit", "verdicts", "nulls verified",
)  # fmt: skip


def render(card: Card) -> str:
    """One row for each target and seed.

    Args:
        card: of this experiment.

    Returns:
        Markdown.
    """
    cells = PluginEffectiveness.model_validate(card.metrics).cells
    if not cells:
        return "No host was measured."
    return "\n\n".join([table(_HEADER, [_row(cell) for cell in cells]), _LEGEND])


def _row(cell: Beside) -> tuple[str, ...]:
    verdicts = Counter(verdict.value for verdict in cell.verdicts)
    false = sum(null.verdict is Verdict.VERIFIED for null in cell.nulls)
    return (
        f"{cell.host}, {cell.backgrounds}",
        cell.target,
        f"{cell.accuracy:.3f}",
        f"{cell.fused_accuracy:.3f}",
        f"{cell.success_rate:.4f} of {cell.verification_samples:,}",
        f"{cell.false_activation_rate:.1e} (≤ {cell.false_activation_upper:.1e}) of "
        f"{cell.benign_samples:,}",
        f"{cell.other_key_rate:.1e} (≤ {cell.other_key_upper:.1e}) of {cell.other_key_samples:,}",
        "yes" if cell.benign_outputs_identical else "NO",
        f"{cell.median_queries:g}",
        f"{cell.information_limit:.1f}",
        ", ".join(f"{word} {count}×" for word, count in verdicts.items()),
        f"{false} of {len(cell.nulls)}",
    )


_LEGEND = (
    "Plug-in: data, kind and number of backgrounds; it is trained once and stands beside all "
    "targets of its data. Accuracy: of the bare target on its test part, and fused. Success: "
    "verification samples on test carriers that are answered with the keyed class. False "
    "activations: benign test samples taken for verification samples; other keys: verification "
    "samples of other owners taken for the owner's; in parentheses the upper end of the exact 95 % "
    "interval. Identical: all other benign outputs are the target's bit for bit. Queries: of the "
    "judge until a batch was decided, median over batches; limit: log(2^g/α)/log K. Nulls: the "
    "bare target, constant answers, a universal patch that drives the target to one class, claims "
    "of other owners against the fused model."
)
