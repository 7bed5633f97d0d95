"""What evidence for a mark must pay, as its deed fixed it; never less than the judge's floor."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from modeldeed.evidence_model import EvidenceModel
from modeldeed.statistics import BLACK_BOX, Budget

__all__ = ["ANCHORED", "UNANCHORED", "MarkBudget", "floor_of"]

UNANCHORED = 64
"""log2 of the tries that are paid for while no timestamp fixed the anchor."""
ANCHORED = 20
"""The same behind a timestamped anchor: a try costs a request to the authority."""

_ALPHA = {"passport": Budget().alpha_log2}


class MarkBudget(EvidenceModel):
    """α and the price of grinding, as integers.

    Attributes:
        alpha_log2: −log2 of the false-positive bound.
        grinding_log2: log2 of the tries that are paid for.
    """

    alpha_log2: Annotated[int, Field(ge=1, le=4096)]
    grinding_log2: Annotated[int, Field(ge=0, le=4096)]

    def at_least(self, floor: MarkBudget) -> bool:
        """Tell whether it is nowhere laxer than another."""
        return self.alpha_log2 >= floor.alpha_log2 and self.grinding_log2 >= floor.grinding_log2

    def stricter(self, other: MarkBudget) -> Budget:
        """The budget of an examination: of each number the stricter one."""
        return Budget(
            alpha_log2=max(self.alpha_log2, other.alpha_log2),
            grinding_log2=max(self.grinding_log2, other.grinding_log2),
        )


def floor_of(kind: str, *, anchored: bool) -> MarkBudget:
    """The judge's floor for a kind of mark.

    Marks that are asked for answers, and kinds that are not known here, have that of answers.
    """
    alpha = _ALPHA.get(kind, BLACK_BOX.alpha_log2)
    return MarkBudget(alpha_log2=alpha, grinding_log2=ANCHORED if anchored else UNANCHORED)
