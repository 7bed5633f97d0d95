"""What a passport fixes in the anchor: its target list, its rule, its message."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from modeldeed.errors import OptionError
from modeldeed.evidence_model import EvidenceModel, Hex32, Name, Size

__all__ = [
    "MAX_MESSAGE_BYTES",
    "ColouredReading",
    "MessageRule",
    "PassportRule",
    "Target",
]

MAX_MESSAGE_BYTES = 160


class Target(EvidenceModel):
    """One entry of the canonical target list.

    Attributes:
        norm: name of the normalization layer in the host.
        kind: its registered kind, for example ``"batch"``.
        channels: C, the number of its channels.
        affine: the state-dict name of its scale γ₀, None without one.
        weight: state-dict name of the bound weight.
        shape: that tensor's shape.
        axis: dimension of it along which the channels lie.
        side: ``"rows"`` of the weight whose output is normalized, or ``"columns"`` of the one
            that reads the normalized values.
        left_out: channels without a bit, because their scale was zero at issue.
    """

    norm: Name
    kind: Name
    channels: Size
    affine: Name | None
    weight: Name
    shape: tuple[Size, ...]
    axis: Annotated[int, Field(ge=0, le=16)]
    side: Literal["rows", "columns"]
    left_out: tuple[Annotated[int, Field(ge=0)], ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Target:
        # Otherwise the claim's n could be another number than that of the bits read.
        if self.axis >= len(self.shape) or self.shape[self.axis] != self.channels:
            raise ValueError(
                f"{self.channels} channels do not lie along axis {self.axis} of {self.shape}"
            )
        if list(self.left_out) != sorted({c for c in self.left_out if c < self.channels}):
            raise ValueError("left_out must be ascending channel numbers without repeats")
        return self

    @property
    def fan(self) -> int:
        """D, the number of weights per channel."""
        total = 1
        for size in self.shape:
            total *= size
        return total // self.shape[self.axis]

    @property
    def bits(self) -> int:
        """Signature bits this layer holds."""
        return self.channels - len(self.left_out)


class ColouredReading(EvidenceModel):
    """Bits are read where the inputs of a layer vary; see `modeldeed.passport.evidence.coloured`.

    Attributes:
        rule: its version.
        factors: tensor root of the layers' factors, hexadecimal: they are fixed before the bits
            exist.
    """

    rule: Literal["coloured/v1"] = "coloured/v1"
    factors: Hex32


class PassportRule(EvidenceModel):
    """How passports turn into a private branch and how a bit is read; committed beforehand.

    Attributes:
        head: registered name of the map from readings to scale and bias.
        reading: versioned rule of reading a bit: ``"weights/v1"``, or a coloured one.
        rows: ``"keyed"``, or ``"shared"`` to reproduce the published scheme only.
        statistics: how a judge re-estimates batch statistics for L2.
    """

    head: Name
    reading: Literal["weights/v1"] | ColouredReading = "weights/v1"
    rows: Literal["keyed", "shared"] = "keyed"
    statistics: Literal["re-estimated/v1"] = "re-estimated/v1"

    @property
    def reading_name(self) -> str:
        """The version of the rule of reading."""
        return self.reading if isinstance(self.reading, str) else self.reading.rule

    @classmethod
    def checked(cls, *, head: str, rows: str, factors: str | None = None) -> PassportRule:
        """Build a rule from options a user gave.

        Args:
            head: name of the head.
            rows: form of the passports.
            factors: digest of the factors of a coloured reading; None reads weights.

        Raises:
            OptionError: ``rows`` is neither ``"keyed"`` nor ``"shared"``, or shared rows are to
                be read by another rule than the published one.
        """
        if rows not in ("keyed", "shared"):
            raise OptionError(f"rows is 'keyed' or 'shared', got {rows!r}")
        if factors is None:
            return cls.model_validate({"head": head, "rows": rows})
        if rows == "shared":
            raise OptionError(
                "rows='shared' reproduces the published form, which reads weights; a coloured "
                "reading needs rows='keyed'"
            )
        return cls(head=head, reading=ColouredReading(factors=factors))


class MessageRule(EvidenceModel):
    """A message in the bits, as far as everybody may know it.

    Attributes:
        code: versioned rule of writing a message into bits.
        size: bytes of the message in UTF-8; they fix the layout of the code.
        commitment: commitment to the message, bound to the identity, hexadecimal.
    """

    code: Literal["words-rs/v1"] = "words-rs/v1"
    size: Annotated[int, Field(ge=1, le=MAX_MESSAGE_BYTES)]
    commitment: Hex32
