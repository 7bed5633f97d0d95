"""An anchor as its owner keeps it until the mark is issued."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from modeldeed.anchor import MAX_MESSAGE_BYTES, MAX_TEXT, Anchor
from modeldeed.identity import Identity
from modeldeed.manifest import SignedRecord

__all__ = ["AnchorRecord"]


class AnchorRecord(SignedRecord):
    """What a mark will be issued from; it is nobody's evidence, the mark's manifest will be.

    Attributes:
        anchor: what is fixed.
        label: the owner's name for the model; selects the seed.
        message: the message that the anchor commits to; None without one.
        signature: as of `SignedRecord`.
    """

    mark: ClassVar[str] = "anchor record"

    format: Literal["modeldeed-anchoring/v1"] = "modeldeed-anchoring/v1"
    anchor: Anchor
    label: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    message: Annotated[str, Field(min_length=1, max_length=MAX_MESSAGE_BYTES)] | None = None

    def owner_identity(self) -> Identity:
        """The identity in the anchor."""
        return self.anchor.owner_identity()
