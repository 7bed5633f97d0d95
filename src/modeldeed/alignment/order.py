"""What an order check found, frozen, JSON in and out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from modeldeed.errors import EvidenceError

__all__ = ["REQUIRED_SHARE", "LayerOrder", "OrderCheck"]

REQUIRED_SHARE = 0.9

_Count = Annotated[int, Field(ge=0)]


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LayerOrder(_Result):
    """The rows of one bound layer.

    Attributes:
        norm: the layer's name in the host.
        weight: the bound tensor.
        axis: dimension of it along which the channels lie.
        channels: C, all rows that took part.
        bits: rows that hold a bit.
        matched: of them, those assigned to themselves.
        unmatched: channels with a bit that were not; each counts as a mismatch in an aligned
            reading.
        median_similarity: median cosine of a bit's row with its own anchor row.
        median_other: median of the largest cosine of such a row with another row.
    """

    norm: str
    weight: str
    axis: _Count
    channels: _Count
    bits: _Count
    matched: _Count
    unmatched: tuple[_Count, ...]
    median_similarity: float
    median_other: float


class OrderCheck(_Result):
    """Whether a reference's channels stand in the order that its anchor committed to.

    Attributes:
        rule: version of the rule.
        bits: rows with a bit, over all layers.
        matched: of them, those assigned to themselves.
        required_share: the least share of them that counts.
        layers: one by one, in canonical order.
    """

    rule: Literal["order/v1"] = "order/v1"
    bits: _Count
    matched: _Count
    required_share: float = REQUIRED_SHARE
    layers: tuple[LayerOrder, ...]

    @property
    def share(self) -> float:
        """Rows assigned to themselves over all rows with a bit; 0 without any."""
        return self.matched / self.bits if self.bits else 0.0

    @property
    def valid(self) -> bool:
        """Whether enough rows stand where the anchor has them."""
        return self.bits > 0 and self.matched >= self.required_share * self.bits

    @property
    def reason(self) -> str:
        """What was found, in one sentence."""
        found = f"{self.matched} of {self.bits} rows of the reference fit their own anchor row best"
        if self.valid:
            return found
        return (
            f"{found}, fewer than {self.required_share:.0%}: its channels were reordered after "
            "anchoring, or it was trained so long that its start says nothing; anchor a later "
            "checkpoint"
        )

    def require_valid(self) -> None:
        """Refuse a reference whose order is not the anchor's.

        Raises:
            EvidenceError: fewer rows than required were assigned to themselves.
        """
        if not self.valid:
            raise EvidenceError(self.reason)
