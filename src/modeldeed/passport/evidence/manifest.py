"""The manifest of a passport: what verification needs beside the key, signed by the owner.

It holds no secret and nothing the claimant could still choose: all passports, bits and heads
follow from the key and from the anchor inside. The signature makes any later change visible.
"""

from __future__ import annotations

import base64
import json
import unicodedata
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modeldeed.anchor import MAX_MESSAGE_BYTES, MAX_TEXT, Anchor
from modeldeed.digests import canonical_json
from modeldeed.errors import EvidenceError
from modeldeed.owner import Owner

__all__ = ["Manifest", "strict_json"]

MAX_BYTES = 16 * 2**20


class Manifest(BaseModel):
    """A passport's manifest.

    Attributes:
        anchor: what was fixed before marking.
        label: the owner's name for the model; selects the seed.
        calls: how often each planned norm runs in one forward.
        message: the message in the bits, which the anchor commits to; None without one.
        state: SHA-256 of the file with trained private state, hexadecimal; None without one.
        signature: Ed25519 over all other fields, base64; empty while unsigned.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["modeldeed-passport/v1"] = "modeldeed-passport/v1"
    anchor: Anchor
    label: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    calls: dict[str, Annotated[int, Field(ge=1)]]
    message: Annotated[str, Field(min_length=1, max_length=MAX_MESSAGE_BYTES)] | None = None
    state: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    signature: Annotated[str, Field(max_length=128)] = ""

    def preimage(self) -> bytes:
        """The signed bytes."""
        fields = self.model_dump(mode="json", exclude={"signature"})
        return b"modeldeed/v1/passport\x00" + canonical_json(fields)

    def signed_by(self, owner: Owner, *, state: str | None) -> Manifest:
        """A copy that names a state file and carries the owner's signature."""
        named = self.model_copy(update={"state": state})
        signature = base64.b64encode(owner.sign(named.preimage())).decode()
        return named.model_copy(update={"signature": signature})

    def require_authentic(self) -> None:
        """Check the signature by the identity in the anchor.

        Raises:
            EvidenceError: it does not fit: the manifest was altered or is not this identity's.
        """
        try:
            signature = base64.b64decode(self.signature, validate=True)
        except ValueError as error:
            raise EvidenceError("the passport's signature is not base64") from error
        # The last digit has spare bits, which a decoder ignores: only one spelling counts.
        if base64.b64encode(signature).decode() != self.signature:
            raise EvidenceError("the passport was altered: its signature is not canonical base64")
        if not self.anchor.owner_identity().verify(signature, self.preimage()):
            raise EvidenceError(
                "the passport was altered: its signature by the identity it names does not fit"
            )

    def model_key(self, owner: Owner) -> bytes:
        """The model key under an owner's secret.

        Raises:
            EvidenceError: the owner is another one, the label's seed is not the committed one,
                or the message is not.
        """
        if owner.identity != self.anchor.owner_identity():
            raise EvidenceError(
                f"this passport belongs to identity {self.anchor.owner_identity().fingerprint[:16]}"
                f", the key to {owner.identity.fingerprint[:16]}"
            )
        seed = owner.seed(self.label)
        key = self.anchor.model_key(seed)
        if self.message is None and self.anchor.message is None:
            return key
        if self.message is None or not self.anchor.commits_to(self.message.encode(), seed):
            raise EvidenceError(
                "the message in the passport is not the one its anchor commits to: one of them "
                "was altered"
            )
        return key

    def wrong_key(self, owner: Owner) -> bytes:
        """The model key another owner would have had for the same model and rules."""
        seed = owner.seed(self.label)
        return self.anchor.claimed_by(owner.identity, seed).model_key(seed)

    def to_json(self) -> bytes:
        """The manifest's file content."""
        return (self.model_dump_json(indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """Parse a manifest strictly; its signature is not checked yet.

        Raises:
            EvidenceError: it is too large, no JSON, has duplicate keys, floats, text that is not
                in normal form, unknown fields, or values out of range.
        """
        if len(data) > MAX_BYTES:
            raise EvidenceError(f"the passport's manifest has {len(data)} bytes, over {MAX_BYTES}")
        strict_json(data)
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise EvidenceError(
                f"the passport's manifest is malformed at {where or 'its top'}: {first['msg']}"
            ) from error


def strict_json(data: bytes) -> Any:
    """Parse JSON that evidence may consist of.

    Raises:
        EvidenceError: duplicate keys, floats, text not in Unicode normal form C, or no JSON.
    """
    try:
        value = json.loads(
            data,
            object_pairs_hook=_unique,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
        _refuse_odd_text(value)
    except (ValueError, RecursionError) as error:
        if isinstance(error, EvidenceError):
            raise
        raise EvidenceError(f"not a JSON document: {type(error).__name__}: {error}") from error
    return value


def _refuse_odd_text(value: Any) -> None:
    if isinstance(value, str) and not unicodedata.is_normalized("NFC", value):
        raise EvidenceError(f"evidence holds text that is not in Unicode normal form C: {value!r}")
    if isinstance(value, dict):
        for name, item in value.items():
            _refuse_odd_text(name)
            _refuse_odd_text(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_odd_text(item)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise EvidenceError(f"the same field stands twice in one object: {', '.join(twice)}")
    return fields


def _refuse_number(text: str) -> Any:
    raise EvidenceError(f"evidence holds no floats, got {text}")
