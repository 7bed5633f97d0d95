"""The base of everything that evidence consists of: frozen, strict, without unknown fields."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = ["MAX_TEXT", "ClassName", "EvidenceModel", "Hex32", "Name", "Size", "Words"]

MAX_TEXT = 200


def _printable(text: str) -> str:
    # A name is shown to the judge; a line break or an escape code in it could show a verdict.
    if not text.isprintable():
        raise ValueError("holds characters that cannot be printed")
    return text


Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_printable)]
Words = Annotated[str, Field(min_length=1, max_length=2_000), AfterValidator(_printable)]
ClassName = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
Size = Annotated[int, Field(ge=1, le=2**40)]


class EvidenceModel(BaseModel):
    """A value that is committed to: it cannot be changed, and holds nothing undeclared."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
