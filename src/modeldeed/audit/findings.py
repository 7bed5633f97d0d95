"""What the cells of an audit amount to, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from modeldeed.audit.found import Audit
from modeldeed.audit.records import Cell

__all__ = ["BUDGET", "WORDS", "Finding", "Word", "cheapest", "survival", "within_budget"]

BUDGET = 0.05
"""Accuracy that whoever attacks is taken to be ready to lose: five points."""

Word = Literal[
    "survives", "falls with the model", "gone, accuracy unknown", "in doubt", "removed",
    "was not there", "not examined",
]  # fmt: skip

WORDS: dict[Word, str] = {
    "survives": "verified at every strength and seed",
    "falls with the model": "not verified at some strength, but none that costs five points of "
    "accuracy or less",
    "gone, accuracy unknown": "not verified at some strength, where the attacked model has another "
    "task, so that its accuracy cannot be compared",
    "in doubt": "at some strength within five points of accuracy, more of it is left than chance "
    "explains, but not enough to verify",
    "removed": "not verified at some strength within five points of accuracy",
    "was not there": "not verified in the model as it shipped either",
    "not examined": "nobody looked",
}


@dataclass(frozen=True)
class Finding:
    """What became of one mark under one attack.

    Attributes:
        attack: its name.
        kind: of the mark.
        word: see `WORDS`.
        cell: the weakest strength behind the word: of ``"survives"`` the reading with the least
            evidence, else the first one that fails. None where there is no reading.
    """

    attack: str
    kind: str
    word: Word
    cell: Cell | None = None


def survival(audit: Audit, attack: str, kind: str) -> Finding:
    """What became of a mark under an attack.

    Args:
        audit: with at least one cell of the attack.
        attack: its name.
        kind: of the mark.
    """
    cells = [cell for cell in audit.of(attack) if _verdict(cell, kind) != "not examined"]
    shipped = audit.shipped
    if shipped is not None and _verdict(shipped, kind) not in ("verified", "not examined"):
        return Finding(attack, kind, "was not there", shipped)
    if not cells:
        return Finding(attack, kind, "not examined")
    gone = [cell for cell in cells if _verdict(cell, kind) != "verified"]
    if not gone:
        return Finding(attack, kind, "survives", max(cells, key=lambda c: _log10_p(c, kind)))
    affordable = [cell for cell in gone if within_budget(cell)]
    removed = [cell for cell in affordable if _verdict(cell, kind) != "inconclusive"]
    unknown = [cell for cell in gone if cell.accuracy_after is None]
    choices: tuple[tuple[Word, Sequence[Cell]], ...] = (
        ("removed", removed),
        ("in doubt", affordable),
        ("gone, accuracy unknown", unknown),
        ("falls with the model", gone),
    )
    word, behind = next((word, behind) for word, behind in choices if behind)
    return Finding(attack, kind, word, behind[0])


def cheapest(audit: Audit, kind: str) -> Finding | None:
    """The cheapest attack that removes a mark within the budget, or leaves it in doubt.

    Cheap is: fewest steps of training, then fewest samples, then least accuracy lost. An attack
    that leaves the mark in doubt counts only where none removes it.

    Returns:
        None if the mark was not there, or nothing of what was tried works.
    """
    shipped = audit.shipped
    if shipped is None or _verdict(shipped, kind) != "verified":
        return None
    failing = [
        cell
        for attack in audit.attacks
        for cell in audit.of(attack)
        if within_budget(cell) and _verdict(cell, kind) not in ("verified", "not examined")
    ]
    removed = [cell for cell in failing if _verdict(cell, kind) != "inconclusive"]
    for word, cells in (("removed", removed), ("in doubt", failing)):
        if cells:
            best = min(cells, key=lambda cell: (cell.steps, cell.samples, cell.loss or 0.0))
            return Finding(best.attack, kind, "removed" if word == "removed" else "in doubt", best)
    return None


def within_budget(cell: Cell) -> bool:
    """Whether a model after an attack is still worth having."""
    # Rates have few digits; a loss of exactly five points is within.
    return cell.loss is not None and cell.loss <= BUDGET + 1e-9


def _verdict(cell: Cell, kind: str) -> str:
    reading = cell.reading(kind)
    return "not examined" if reading is None else reading.verdict


def _log10_p(cell: Cell, kind: str) -> float:
    reading = cell.reading(kind)
    return 0.0 if reading is None or reading.log10_p is None else reading.log10_p
