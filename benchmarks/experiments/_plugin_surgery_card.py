"""The metrics of a card of ``plugin-surgery``, and the card as Markdown."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from benchmarks.cards import Card
from benchmarks.markdown import table
from benchmarks.records import Rate, Record

__all__ = ["Attempt", "Form", "PluginSurgery", "render"]

_Positive = Annotated[float, Field(gt=0)]


class Attempt(Record):
    """One attempt to separate a detector from its target.

    Attributes:
        attack: in words.
        verification_rate: backgrounds that are answered with their class afterwards.
        accuracy: of the changed model on the test part.
        found: the verification rate is below the least that a mark is taken for, and accuracy
            lower by five points at most.
        seconds: wall time of the attack.
    """

    attack: str
    verification_rate: Rate
    accuracy: Rate
    found: bool
    seconds: float


class Form(Record):
    """One way to fuse one detector and one target.

    Attributes:
        host: network and data.
        seed: of target, backgrounds and detector.
        form: how they are fused.
        verification_rate: before any attack.
        accuracy: before any attack.
        largest_difference: of scores on benign and verification samples from those of the plain
            fusion, in units of the largest score; None for the plain fusion.
        largest_benign_difference: the same on benign samples from those of the target.
        same_answers: benign and verification samples with the class that the plain fusion gives.
        time_ratio: of a forward, over the target alone.
        parameters_ratio: over the target alone.
        attempts: every attack.
    """

    host: str
    seed: int
    form: str
    verification_rate: Rate
    accuracy: Rate
    largest_difference: float | None
    largest_benign_difference: float
    same_answers: Rate
    time_ratio: _Positive
    parameters_ratio: _Positive
    attempts: tuple[Attempt, ...]


class PluginSurgery(Record):
    """The metrics of a card: every form of every host."""

    forms: tuple[Form, ...]


def render(card: Card) -> str:
    """One table of the forms, and one of the attacks for each form.

    Args:
        card: of this experiment.

    Returns:
        Markdown.
    """
    forms = PluginSurgery.model_validate(card.metrics).forms
    if not forms:
        return "No host was measured."
    header = (
        "host", "seed", "form", "verification rate", "accuracy", "largest difference",
        "on benign", "same answers", "time", "parameters",
    )  # fmt: skip
    parts = [table(header, [_form(form) for form in forms])]
    for form in forms:
        rows = [
            (
                attempt.attack,
                f"{attempt.verification_rate:.3f}",
                f"{attempt.accuracy:.3f}",
                "separated" if attempt.found else "no",
                f"{attempt.seconds:.1f}",
            )
            for attempt in form.attempts
        ]
        parts.append(f"{form.host}, seed {form.seed}, {form.form}.")
        parts.append(table(("attack", "verification rate", "accuracy", "outcome", "seconds"), rows))
    return "\n\n".join([*parts, _LEGEND])


def _form(form: Form) -> tuple[str, ...]:
    difference = form.largest_difference
    return (
        form.host,
        f"{form.seed}",
        form.form,
        f"{form.verification_rate:.3f}",
        f"{form.accuracy:.3f}",
        "" if difference is None else f"{difference:.1e}",
        f"{form.largest_benign_difference:.1e}",
        f"{form.same_answers:.4f}",
        f"{form.time_ratio:.2f}×",
        f"{form.parameters_ratio:.2f}×",
    )


_LEGEND = (
    "Every attack has the model and some hundred benign inputs without labels, and trains nothing. "
    "Verification rate: backgrounds answered with their keyed class, each on one test carrier; 1/K "
    "by chance. Separated: below the least rate that a mark is taken for, at no more than five "
    "points of accuracy. Attacks that look at the graph have no entry for the plain fusion, whose "
    "detector is a submodule. Differences: of scores, in units of the largest score."
)
