"""The lines of a transcript: what stands in them, how each commits to all before it.

A line is one JSON object in the form of RFC 8785. Its ``digest`` is SHA-256 over a domain, the
digest of the line before (nothing for the header) and the line without its digest.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator
from torch import Tensor

from modeldeed._version import __version__
from modeldeed.digests import canonical_json, sha256, tensor_bytes
from modeldeed.errors import EvidenceError
from modeldeed.strict_json import strict_json

__all__ = [
    "Answered",
    "TranscriptHeader",
    "probabilities_digest",
    "read_answered",
    "read_header",
]

_Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Number = Annotated[int, Field(ge=0, le=2**32)]
_Label = Annotated[int, Field(ge=-(2**53) + 1, le=2**53 - 1)]
_DOMAIN = b"modeldeed/v1/transcript-line"


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def _fields(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


class TranscriptHeader(_Line):
    """What a transcript is about; the first line.

    Attributes:
        format: ``"modeldeed-transcript/v1"``.
        anchor: digest of the claim's anchor, hexadecimal.
        batch: number of the batch of triggers.
        batches: all that are to be used, fixed before the first question: more of them when the
            first disappoints would be a choice of the best.
        count: answers of a number fixed before; None where asking stops when it is decided.
        rule: digest of the rule that the triggers follow from, hexadecimal.
        suspect: the suspect's identity, SHA-256 of its description.
        description: the suspect's description.
        time: when the first sample was asked, UTC, for example ``2026-11-21T13:34:20Z``.
        version: of the package that began it.
    """

    format: Literal["modeldeed-transcript/v1"] = "modeldeed-transcript/v1"
    anchor: _Hex32
    batch: _Number
    batches: Annotated[list[_Number], Field(min_length=1, max_length=1024)]
    count: Annotated[int, Field(ge=1, le=2**32)] | None = None
    rule: _Hex32
    suspect: _Hex32
    description: dict[str, JsonValue]
    time: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    version: Annotated[str, Field(min_length=1, max_length=100)] = __version__

    @model_validator(mode="after")
    def _described(self) -> TranscriptHeader:
        # The strict reader must take what is written, and the identity must name what stands here.
        data = canonical_json(self.description)
        strict_json(data)
        if hashlib.sha256(data).hexdigest() != self.suspect:
            raise ValueError("suspect is not the SHA-256 of description")
        return self

    def line(self) -> tuple[bytes, bytes]:
        """The line, without its end, and its digest."""
        return _sealed(self._fields(), b"")

    def differences(self, other: TranscriptHeader) -> list[str]:
        """Names of the fields that make it another transcript; time and version do not."""
        names = ("anchor", "batch", "batches", "count", "rule", "suspect")
        return [name for name in names if getattr(self, name) != getattr(other, name)]


class Answered(_Line):
    """One sample that was asked about, and the answer.

    Attributes:
        input: `modeldeed.suspects.answering.batches.sample_digest` of the sample.
        label: the class that was answered; None for a refusal.
        probabilities: `probabilities_digest` of the scores; None without any.
    """

    input: _Hex32
    label: _Label | None
    probabilities: _Hex32 | None = None

    def line(self, sequence: int, previous: bytes) -> tuple[bytes, bytes]:
        """The line, without its end, and its digest.

        Args:
            sequence: 0 for the first sample.
            previous: digest of the line before.
        """
        return _sealed({"sequence": sequence, **self._fields()}, previous)


def probabilities_digest(row: Tensor) -> str:
    """The digest of one sample's scores: SHA-256 over their float64 bytes, hexadecimal.

    Args:
        row: scores ``(K,)`` of any floating dtype.
    """
    return sha256(b"modeldeed/v1/answered-scores", bytes(tensor_bytes(row.double()))).hex()


def read_header(data: bytes) -> tuple[TranscriptHeader, bytes]:
    """Check the first line.

    Returns:
        The header and the line's digest.

    Raises:
        EvidenceError: it is malformed or was altered.
    """
    fields = _opened(data, "the header")
    header = _validated(TranscriptHeader, fields, "the header")
    return header, _agreed(data, header.line(), "the header")


def read_answered(data: bytes, sequence: int, previous: bytes) -> tuple[Answered, bytes]:
    """Check one later line.

    Args:
        data: the line without its end.
        sequence: the number it has to have.
        previous: digest of the line before.

    Returns:
        The answer and the line's digest.

    Raises:
        EvidenceError: it is malformed, of another place, or it or a line before was altered.
    """
    where = f"answer {sequence}"
    fields = _opened(data, where)
    found = fields.pop("sequence", None)
    if isinstance(found, bool) or found != sequence:
        raise EvidenceError(f"the transcript was altered: {where} has the number {found!r}")
    answered = _validated(Answered, fields, where)
    return answered, _agreed(data, answered.line(sequence, previous), where)


def _sealed(fields: dict[str, Any], previous: bytes) -> tuple[bytes, bytes]:
    digest = sha256(_DOMAIN, previous, canonical_json(fields))
    return canonical_json({**fields, "digest": digest.hex()}), digest


def _opened(data: bytes, where: str) -> dict[str, Any]:
    try:
        fields = strict_json(data)
    except EvidenceError as error:
        raise EvidenceError(f"the transcript was altered: {where}: {error}") from error
    if not isinstance(fields, dict) or not isinstance(fields.pop("digest", None), str):
        raise EvidenceError(f"the transcript was altered: {where} is no object with a digest")
    return fields


def _validated(kind: Any, fields: dict[str, Any], where: str) -> Any:
    try:
        return kind.model_validate(fields)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "its top"
        raise EvidenceError(
            f"the transcript is malformed: {where}, {name}: {first['msg']}"
        ) from error


def _agreed(data: bytes, line: tuple[bytes, bytes], where: str) -> bytes:
    """The digest of a line that is, byte for byte, what its fields would have been written as."""
    expected, digest = line
    if data != expected:
        raise EvidenceError(
            f"the transcript was altered: {where} or a line before it is not what was written"
        )
    return digest
