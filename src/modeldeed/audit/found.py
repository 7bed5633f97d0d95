"""What an audit found: its plan and the cells that are there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modeldeed.audit.cell_files import read_cell, read_plan
from modeldeed.audit.records import NOTHING, Cell, Plan

__all__ = ["Audit"]


@dataclass(frozen=True)
class Audit:
    """What an audit found so far.

    Attributes:
        plan: what was to be done.
        cells: what was done, in the plan's order.
        missing: cells of the plan that are still to be computed.
    """

    plan: Plan
    cells: tuple[Cell, ...]
    missing: int = 0

    @classmethod
    def load(cls, folder: str | Path) -> Audit:
        """Read an audit, finished or not.

        Raises:
            DataError: the folder holds no audit.
        """
        plan = read_plan(Path(folder))
        found = [read_cell(Path(folder) / planned.file) for planned in plan.cells]
        cells = tuple(cell for cell in found if cell is not None)
        refused = {(left.attack, left.strength) for left in plan.left_out}
        lacking = [
            planned
            for planned, cell in zip(plan.cells, found, strict=True)
            if cell is None and (planned.attack, planned.strength) not in refused
        ]
        return cls(plan, cells, len(lacking))

    @property
    def kinds(self) -> tuple[str, ...]:
        """The marks, as they are called in readings."""
        return tuple(mark.kind for mark in self.plan.marks)

    @property
    def attacks(self) -> tuple[str, ...]:
        """Names of the attacks of which there are cells, in the plan's order."""
        return tuple(dict.fromkeys(cell.attack for cell in self.cells if cell.attack != NOTHING))

    @property
    def shipped(self) -> Cell | None:
        """The model as it shipped; None if that was not examined yet."""
        return next((cell for cell in self.cells if cell.attack == NOTHING), None)

    def of(self, attack: str) -> tuple[Cell, ...]:
        """The cells of an attack, the weakest strength first."""
        return tuple(cell for cell in self.cells if cell.attack == attack)
