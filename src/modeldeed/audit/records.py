"""What an audit writes: a plan, and one record for each cell of its grid."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["NOTHING", "Cell", "LeftOut", "MarkInfo", "MarkReading", "Plan", "Planned"]

NOTHING = "none"
"""The name of doing nothing: the cell that all others are compared with."""

_Rate = Annotated[float, Field(ge=0, le=1)]
_Count = Annotated[int, Field(ge=0)]
_Verdict = Literal[
    "verified", "inconclusive", "not verified", "evidence invalid", "unreadable", "not examined"
]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class MarkReading(_Record):
    """What is left of one mark in one attacked model.

    Attributes:
        kind: which mark.
        verdict: the examination's; ``"unreadable"`` where the attacked model cannot be read for
            this mark, ``"not examined"`` where nobody looked.
        reason: why, in one sentence.
        matches: bits that read as claimed, or answers that are the trigger's label.
        total: bits read, or answers compared.
        log10_p: before payment; of answers 1/E, an upper bound that holds at any time.
        log10_p_paid: after payment for keys tried beforehand.
        log10_e: of answers; None where bits are read.
        threshold_log10: log10 p, before payment, that verifies.
        wrong_keys: matches under wrong keys; of the model as it shipped alone.
        extra: further numbers of an examiner of one's own.
    """

    kind: str
    verdict: _Verdict
    reason: str = ""
    matches: _Count | None = None
    total: _Count | None = None
    log10_p: float | None = None
    log10_p_paid: float | None = None
    log10_e: float | None = None
    threshold_log10: float | None = None
    wrong_keys: tuple[int, ...] = ()
    extra: dict[str, float] = {}


class Cell(_Record):
    """One attack at one strength under one seed.

    Attributes:
        key: SHA-256 of everything the result depends on.
        attack: registered name; ``"none"`` for the model as it shipped.
        strength: in words.
        seed: of every random choice of the attack.
        parameters: of the attack.
        needed: what it took beside weights and code.
        accuracy_before: of the model as it shipped, on the test part.
        accuracy_after: on the same; None where the attacked model has other classes.
        seconds: wall time of the attack.
        examination_seconds: wall time of reading the marks.
        steps: of all optimizers.
        samples: different inputs that were looked at.
        labels: different labels that were looked at.
        device: where it ran.
        threads: of one operation.
        versions: of modeldeed, torch and Python.
        marks: what is left of each.
    """

    schema_version: Literal["modeldeed-audit-cell/v1"] = "modeldeed-audit-cell/v1"
    key: str
    attack: str
    strength: str
    seed: _Count
    parameters: dict[str, Any]
    needed: tuple[str, ...]
    accuracy_before: _Rate
    accuracy_after: _Rate | None
    seconds: float
    examination_seconds: float
    steps: _Count
    samples: _Count
    labels: _Count
    device: str
    threads: int
    versions: dict[str, str]
    marks: tuple[MarkReading, ...]

    @property
    def loss(self) -> float | None:
        """Accuracy that the attack cost; None where it cannot be compared."""
        return None if self.accuracy_after is None else self.accuracy_before - self.accuracy_after

    def reading(self, kind: str) -> MarkReading | None:
        """What is left of one mark; None where the audit does not know it."""
        return next((mark for mark in self.marks if mark.kind == kind), None)


class MarkInfo(_Record):
    """A mark that is looked for.

    Attributes:
        kind: what it is called.
        description: whatever tells it from others: anchor, rule, budget.
    """

    kind: str
    description: dict[str, Any]


class Planned(_Record):
    """A cell that is to be computed, and the file that it will be in."""

    attack: str
    strength: str
    seed: _Count
    file: str


class LeftOut(_Record):
    """An attack, or one strength of it, that is not in the grid, and why."""

    attack: str
    strength: str | None = None
    reason: str


class Plan(_Record):
    """An audit's plan; it is written before the first cell.

    Attributes:
        model: the class of what was attacked.
        model_digest: Merkle root of its tensors.
        data: name of the data set.
        train_samples: that attacks may take.
        test_samples: that accuracies are measured on.
        classes: of the data.
        original_steps: of the model's own training; None where nobody said.
        marks: what is looked for.
        seeds: of the attacks.
        cells: the grid, the model as it shipped first.
        left_out: what is not in it.
        versions: of modeldeed, torch and Python.
    """

    schema_version: Literal["modeldeed-audit/v1"] = "modeldeed-audit/v1"
    model: str
    model_digest: str
    data: str
    train_samples: _Count
    test_samples: _Count
    classes: _Count
    original_steps: _Count | None
    marks: tuple[MarkInfo, ...]
    seeds: tuple[int, ...]
    cells: tuple[Planned, ...]
    left_out: tuple[LeftOut, ...]
    versions: dict[str, str]
