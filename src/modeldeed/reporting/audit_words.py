"""An audit in words and rows, for pages and tables of every kind alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from modeldeed.audit.findings import (
    BUDGET,
    WORDS,
    Finding,
    Word,
    cheapest,
    survival,
    within_budget,
)
from modeldeed.audit.found import Audit
from modeldeed.audit.records import Cell, MarkReading

__all__ = [
    "LIMITS",
    "Audits",
    "Column",
    "Cost",
    "cheapest_words",
    "columns",
    "costs",
    "detail",
    "examined",
    "failures",
    "findings",
    "known_words",
    "points",
    "remarks",
    "training",
]

Audits = Mapping[str, Audit]
"""Audits by name, the one that the report is about first; others stand beside it."""

LIMITS = (
    "These are the attacks that were tried, at these strengths, on this one model. One that nobody "
    "tried may be cheaper; somebody who designs one for your model has more to gain than this list "
    "has.",
    "A mark that survives is evidence of lineage, not of who came first: dates of deeds say that.",
    "A student that was trained on a model's answers has weights of its own: no mark in weights "
    "can be in them. What it costs is the inputs, and the training.",
    "Accuracy is measured on the test part of the data alone; an attack may cost more where "
    "nobody looked.",
)


@dataclass(frozen=True)
class Column:
    """One mark of one audit.

    Attributes:
        audit: its name.
        kind: of the mark.
        heading: for a table.
    """

    audit: str
    kind: str
    heading: str


@dataclass(frozen=True)
class Cost:
    """One attack at one strength, over all seeds.

    Attributes:
        attack: its name.
        strength: in words.
        loss: mean accuracy lost; None where it cannot be compared.
        steps: of training.
        share: of the model's own training; None where nobody said how long that was.
        samples: looked at.
        labels: looked at.
        seconds: mean.
        readings: by kind, of the seed with the least evidence.
        within: whether the mean loss is within the budget.
    """

    attack: str
    strength: str
    loss: float | None
    steps: int
    share: float | None
    samples: int
    labels: int
    seconds: float
    readings: Mapping[str, MarkReading]
    within: bool


def examined(audit: Audit, kind: str) -> bool:
    """Whether anybody looked for a mark."""
    readings = [cell.reading(kind) for cell in audit.cells]
    return any(reading and reading.verdict != "not examined" for reading in readings)


def columns(audits: Audits) -> list[Column]:
    """Of the first audit all marks, of others those that somebody looked for."""
    found = []
    for place, (name, audit) in enumerate(audits.items()):
        for kind in audit.kinds:
            if place == 0 or examined(audit, kind):
                heading = kind if len(audits) == 1 or kind == name else f"{kind} ({name})"
                found.append(Column(name, kind, heading))
    return found


def findings(audits: Audits) -> list[tuple[str, list[Finding]]]:
    """Attack by attack, what became of the mark of every column."""
    marks = columns(audits)
    attacks = dict.fromkeys(attack for audit in audits.values() for attack in audit.attacks)
    return [
        (attack, [survival(audits[mark.audit], attack, mark.kind) for mark in marks])
        for attack in attacks
    ]


def known_words(audits: Audits) -> list[tuple[Word, str]]:
    """The words that stand in the table, with their meanings."""
    used = {finding.word for _, row in findings(audits) for finding in row}
    return [(word, meaning) for word, meaning in WORDS.items() if word in used]


def remarks(audits: Audits) -> list[str]:
    """What a reader must know about a column that somebody looked at, each once."""
    told = (
        mark.description.get("remark")
        for audit in audits.values()
        for mark in audit.plan.marks
        if examined(audit, mark.kind)
    )
    return list(dict.fromkeys(remark for remark in told if remark))


def detail(finding: Finding) -> str:
    """Where a word comes from: strength and accuracy, a few words."""
    cell = finding.cell
    if cell is None or finding.word in ("was not there", "not examined"):
        return ""
    reading = cell.reading(finding.kind)
    if finding.word == "survives":
        if reading is None or reading.matches is None:
            return ""
        return f"at least {reading.matches} of {reading.total}"
    return f"{cell.strength}; {points(cell.loss)}"


def points(loss: float | None) -> str:
    """Accuracy lost, in points.

    Example:
        >>> points(0.0125), points(-0.004), points(0.0), points(None)
        ('−1.2 points', '+0.4 points', '±0 points', 'accuracy unknown')
    """
    if loss is None:
        return "accuracy unknown"
    if abs(loss) < 0.0005:
        return "±0 points"
    return f"{-100 * loss:+.1f} points".replace("-", "−")


def training(steps: int, share: float | None) -> str:
    """How long an attack trains.

    Example:
        >>> training(0, 0.0), training(120, 0.5), training(120, None)
        ('no training', '0.5× the training', '120 steps')
    """
    if not steps:
        return "no training"
    return f"{steps:,} steps" if share is None else f"{share:.2g}× the training"


def failures(audit: Audit, kind: str) -> list[str]:
    """Every attack and strength within the budget after which a mark does not verify.

    Of a mark that is not in the model as it shipped, or that nobody looked for: none.
    """
    shipped = None if audit.shipped is None else audit.shipped.reading(kind)
    if shipped is None or shipped.verdict != "verified":
        return []
    found: dict[str, list[str]] = {}
    for cell in audit.cells:
        reading = cell.reading(kind)
        gone = reading is not None and reading.verdict not in ("verified", "not examined")
        if gone and within_budget(cell):
            doubt = ", in doubt" if reading and reading.verdict == "inconclusive" else ""
            found.setdefault(cell.attack, []).append(f"{cell.strength}: {points(cell.loss)}{doubt}")
    return [f"{attack} ({'; '.join(dict.fromkeys(told))})" for attack, told in found.items()]


def costs(audit: Audit) -> list[Cost]:
    """Every attack and strength, over seeds, in the plan's order."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in audit.cells:
        groups.setdefault((cell.attack, cell.strength), []).append(cell)
    return [_cost(audit, group) for group in groups.values()]


def _cost(audit: Audit, group: list[Cell]) -> Cost:
    first, original = group[0], audit.plan.original_steps
    losses = [cell.loss for cell in group if cell.loss is not None]
    loss = fmean(losses) if losses else None
    weakest = {}
    for kind in audit.kinds:
        readings = [reading for cell in group if (reading := cell.reading(kind)) is not None]
        if readings:
            weakest[kind] = max(readings, key=evidence)
    return Cost(
        attack=first.attack,
        strength=first.strength,
        loss=loss,
        steps=first.steps,
        share=first.steps / original if original else None,
        samples=max(cell.samples for cell in group),
        labels=max(cell.labels for cell in group),
        seconds=fmean(cell.seconds for cell in group),
        readings=weakest,
        within=loss is not None and loss <= BUDGET + 1e-9,
    )


def evidence(reading: MarkReading) -> float:
    """log10 p; 0, no evidence at all, of what cannot be read."""
    return 0.0 if reading.log10_p is None else min(0.0, reading.log10_p)


def cheapest_words(audit: Audit, kind: str) -> tuple[Finding | None, str]:
    """The cheapest attack that works against a mark, and a sentence about it."""
    shipped = audit.shipped
    reading = None if shipped is None else shipped.reading(kind)
    if reading is None or reading.verdict == "not examined":
        why = "" if reading is None else reading.reason
        return None, f"not examined: {why}" if why else "nobody looked"
    if reading.verdict != "verified":
        return None, "it is not verified in the model as it shipped"
    found = cheapest(audit, kind)
    if found is None or found.cell is None:
        return None, "nothing of what was tried works within five points of accuracy"
    cell, original = found.cell, audit.plan.original_steps
    share = cell.steps / original if original else None
    data = "no data" if not cell.samples else f"{cell.samples:,} samples"
    if cell.labels:
        data += " with labels"
    said = f"{cell.attack} ({cell.strength}): {training(cell.steps, share)}, {data}"
    doubt = "; it leaves the mark in doubt" if found.word == "in doubt" else ""
    return found, f"{said}, {points(cell.loss)} of accuracy{doubt}"
