"""The metrics of a card of the experiment ``trigger-families``, and the card as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.cards import Card
from benchmarks.markdown import signed, table
from benchmarks.records import Rate, Record

__all__ = ["Agreement", "Kept", "Marked", "TriggerFamilies", "render"]


class Agreement(Record):
    """How alike plain models answer the triggers of one family.

    Attributes:
        host: the models.
        family: name.
        triggers: that were asked.
        models: independently trained.
        mean: share of triggers that two models answer alike, over all pairs.
        highest: of the pair that is most alike.
        kappa: Cohen's: the mean share beyond that of two models that answer each class as often
            without looking; 0 where one of a pair always gives the same answer.
        constant: share of its triggers that a model answers with its most frequent class; mean
            over models.
        most_constant: of the model where that is highest.
        seconds: to generate 128 triggers; the shortest of three.
    """

    host: str
    family: str
    triggers: int
    models: int
    mean: Rate
    highest: Rate
    kappa: float
    constant: Rate
    most_constant: Rate
    seconds: float


class Kept(Record):
    """Answers of a marked model that are the labels, after one change.

    Attributes:
        change: to the triggers or to the model.
        rate: share of the triggers.
        accuracy: of the model on the test part.
    """

    change: str
    rate: Rate
    accuracy: Rate


class Marked(Record):
    """A model that learned the triggers of one family.

    Attributes:
        host: the model.
        family: name.
        seed: of its start, its order of samples, its owner and its attacks.
        plain_accuracy: of the model of the same seed without triggers.
        accuracy: of this one.
        kept: the match rate as it shipped and after every change.
    """

    host: str
    family: str
    seed: int
    plain_accuracy: Rate
    accuracy: Rate
    kept: tuple[Kept, ...]


class TriggerFamilies(Record):
    """The metrics of a card."""

    agreement: tuple[Agreement, ...]
    marked: tuple[Marked, ...]


def render(card: Card) -> str:
    """Two tables: how alike independent models answer, and what a model keeps of what it learned.

    Args:
        card: of this experiment.

    Returns:
        Markdown.
    """
    metrics = TriggerFamilies.model_validate(card.metrics)
    if not metrics.agreement:
        return "No host was measured."
    first = metrics.agreement[0]
    agreement = table(
        ("family", "agreement", "highest pair", "kappa", "most frequent answer",
         "of the most constant model", "128 triggers"),
        [_agreement(cell) for cell in metrics.agreement],
    )  # fmt: skip
    intro = f"{first.models} plain models of {first.host}, {first.triggers} triggers of a family."
    return "\n\n".join([intro, agreement, *_marked(metrics.marked), _LEGEND])


_LEGEND = (
    "Agreement: share of triggers that two independently trained models answer alike, mean over "
    "pairs; what it is beyond chance, Cohen's kappa. The higher it is, the more of what was ground "
    "on a surrogate model carries over to one never seen. Match rates: share of 128 triggers that "
    "a model that learned them answers with their labels; by chance one in as many as there are "
    "classes."
)


def _agreement(cell: Agreement) -> tuple[str, ...]:
    return (
        cell.family,
        f"{cell.mean:.2f}",
        f"{cell.highest:.2f}",
        f"{cell.kappa:.2f}",
        f"{cell.constant:.2f}",
        f"{cell.most_constant:.2f}",
        f"{1000 * cell.seconds:.1f} ms",
    )


def _marked(cells: Sequence[Marked]) -> list[str]:
    if not cells:
        return []
    changes = [kept.change for kept in cells[0].kept]
    rows = [
        (
            cell.family,
            str(cell.seed),
            signed(cell.accuracy - cell.plain_accuracy),
            *(f"{kept.rate:.2f}" for kept in cell.kept),
        )
        for cell in cells
    ]
    return [table(("family", "seed", "accuracy − plain", *changes), rows)]
