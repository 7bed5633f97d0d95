"""A claim after steps 2 to 8, as the later steps see it."""

from __future__ import annotations

from dataclasses import dataclass, field

from modeldeed.alignment.order import OrderCheck
from modeldeed.deed import Deed
from modeldeed.resolving.claim_folder import ClaimFolder
from modeldeed.resolving.examinee import Examinee
from modeldeed.resolving.reading import JudgedMark
from modeldeed.resolving.results import MatrixCell
from modeldeed.resolving.words import Void
from modeldeed.timestamping import Dating

__all__ = ["TakenClaim"]


@dataclass
class TakenClaim:
    """A claim after steps 2 to 8.

    Attributes:
        name: how the resolution calls it.
        digest: of its deed, or of the deed's file where that could not be read.
        folder: where it lies.
        deed: None where it could not be read.
        dating: the deed's effective interval.
        marks: those that the opening shows.
        reference: the registered model.
        exhibit: the model that its anchors commit to; None where it is not shown.
        order: what the order check found; None where none was made.
        orders: the same in full, by the digest of the passport's anchor.
        own: the reading of its own reference.
        invalid: why it is no evidence; None where it is.
        countersignatures: files of licences, not read yet.
        warnings: for the reader.
    """

    name: str
    digest: str
    folder: ClaimFolder
    deed: Deed | None = None
    dating: Dating = field(default_factory=Dating)
    marks: tuple[JudgedMark, ...] = ()
    reference: Examinee | None = None
    exhibit: Examinee | None = None
    order: str | None = None
    orders: dict[str, OrderCheck] = field(default_factory=dict)
    own: MatrixCell | None = None
    invalid: tuple[Void, str] | None = None
    countersignatures: tuple[bytes, ...] = ()
    warnings: list[str] = field(default_factory=list)

    @property
    def anchored(self) -> bool:
        """Whether an authority of the judge's dated one of its anchors."""
        return any(mark.anchored for mark in self.marks)
