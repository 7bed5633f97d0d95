"""A mark's manifest: what verification needs beside the key, signed by the owner.

It holds no secret and nothing the claimant could still choose: all secrets follow from the key
and from the anchor inside. The signature makes any later change visible.
"""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from typing_extensions import Self

from modeldeed.anchor import MAX_TEXT, Anchor
from modeldeed.anchor.tokens import signed_time_of
from modeldeed.bounds import require_few_values
from modeldeed.claimant import Claimant
from modeldeed.digests import canonical_json
from modeldeed.errors import EvidenceError
from modeldeed.evidence_model import EvidenceModel
from modeldeed.identity import Identity
from modeldeed.owner import Owner
from modeldeed.strict_json import strict_json

__all__ = ["MAX_BYTES", "SignedManifest", "SignedRecord"]

MAX_BYTES = 16 * 2**20
MAX_TOKEN = 2**17  # characters; more than 64 KiB in base64


class SignedRecord(EvidenceModel, ABC):
    """A record that its owner signed.

    Attributes:
        signature: Ed25519 over all other fields, base64; empty while unsigned.
    """

    mark: ClassVar[str]
    """What it is the record of, in words; part of what is signed."""

    signature: Annotated[str, Field(max_length=128)] = ""

    @abstractmethod
    def owner_identity(self) -> Identity:
        """Whose signature counts, a checked public key.

        Raises:
            EvidenceError: the key is malformed or of small order.
        """

    def preimage(self) -> bytes:
        """The signed bytes."""
        fields = self.model_dump(mode="json", exclude={"signature"})
        domain = f"modeldeed/v1/{self.mark.replace(' ', '-')}"
        return domain.encode() + b"\x00" + canonical_json(fields)

    def signed(self, owner: Owner) -> Self:
        """A copy with the owner's signature."""
        signature = base64.b64encode(owner.sign(self.preimage())).decode()
        return self.model_copy(update={"signature": signature})

    def require_authentic(self) -> None:
        """Check the signature by the identity it names.

        Raises:
            EvidenceError: it does not fit: the manifest was altered or is not this identity's.
        """
        what = f"the {self.mark}"
        try:
            signature = base64.b64decode(self.signature, validate=True)
        except ValueError as error:
            raise EvidenceError(f"{what}'s signature is not base64") from error
        # The last digit has spare bits, which a decoder ignores: only one spelling counts.
        if base64.b64encode(signature).decode() != self.signature:
            raise EvidenceError(f"{what} was altered: its signature is not canonical base64")
        if not self.owner_identity().verify(signature, self.preimage()):
            raise EvidenceError(
                f"{what} was altered: its signature by the identity it names does not fit"
            )

    def to_json(self) -> bytes:
        """The manifest's file content."""
        return (self.model_dump_json(indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Parse a manifest strictly; its signature is not checked yet.

        Raises:
            EvidenceError: it is too large, no JSON, has duplicate keys, floats, text that is not
                in normal form, unknown fields, or values out of range.
        """
        if len(data) > MAX_BYTES:
            raise EvidenceError(
                f"the {cls.mark}'s manifest has {len(data)} bytes, over {MAX_BYTES}"
            )
        require_few_values(data, f"{cls.mark}'s manifest")
        strict_json(data)
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise EvidenceError(
                f"the {cls.mark}'s manifest is malformed at {where or 'its top'}: {first['msg']}"
            ) from error


class SignedManifest(SignedRecord):
    """What the manifests of all marks of one model have in common.

    Attributes:
        anchor: what was fixed before marking.
        label: the owner's name for the model; selects the seed.
        token: the timestamp token over the anchor's bytes, DER in base64; None when unanchored.
        signature: as of `SignedRecord`.
    """

    anchor: Anchor
    label: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    token: Annotated[str, Field(min_length=1, max_length=MAX_TOKEN)] | None = None

    @model_validator(mode="after")
    def _check_token(self) -> Self:
        # Whether somebody's authority signed it is for him who trusts it to say; that it is about
        # this anchor and policy is there for everybody to see.
        try:
            self.signed_time()
        except EvidenceError as error:
            raise ValueError(str(error)) from error
        return self

    def owner_identity(self) -> Identity:
        """The identity in the anchor."""
        return self.anchor.owner_identity()

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Unanchored evidence is written, and signed, as if there were no such field.
        fields: dict[str, Any] = handler(self)
        if self.token is None:
            fields.pop("token", None)
        return fields

    def token_bytes(self) -> bytes | None:
        """The token, DER; None without one.

        Raises:
            EvidenceError: it is not canonical base64.
        """
        if self.token is None:
            return None
        try:
            token = base64.b64decode(self.token, validate=True)
        except ValueError as error:
            raise EvidenceError(f"the token of the {self.mark} is not base64") from error
        if base64.b64encode(token).decode() != self.token:
            raise EvidenceError(f"the token of the {self.mark} is not canonical base64")
        return token

    def signed_time(self) -> bytes:
        """τ: the signed content of the token, empty without one; it enters the model key.

        Raises:
            EvidenceError: the token is malformed, or about another anchor or policy; or the
                anchor names no authority.
        """
        token = self.token_bytes()
        return b"" if token is None else signed_time_of(token, self.anchor)

    def with_token(self, token: bytes | None) -> Self:
        """A copy with a token over its anchor, not signed yet.

        Raises:
            EvidenceError: as of `signed_time`.
        """
        text = None if token is None else base64.b64encode(token).decode()
        made = self.model_copy(update={"token": text, "signature": ""})
        made.signed_time()
        return made

    def require_authentic(self) -> None:
        """Check the signature by the identity it names, and what the token is about.

        Raises:
            EvidenceError: one of them does not fit.
        """
        super().require_authentic()
        self.signed_time()

    def owned_by(self, claimant: Claimant) -> bool:
        """Tell whether a claimant's identity is the one in the anchor."""
        return claimant.identity == self.anchor.owner_identity()

    def model_key(self, claimant: Claimant) -> bytes:
        """The model key under an owner's secret, or under an opened seed.

        Raises:
            EvidenceError: the claimant is another one, the label's seed is not the committed one,
                or the anchor names an authority and there is no token yet.
        """
        if not self.owned_by(claimant):
            own, others = self.anchor.owner_identity(), claimant.identity
            raise EvidenceError(
                f"this {self.mark} belongs to identity {own.fingerprint[:16]}"
                f", the key to {others.fingerprint[:16]}"
            )
        return self.anchor.model_key(claimant.seed(self.label), self.signed_time())

    def wrong_key(self, claimant: Claimant) -> bytes:
        """The model key another owner would have had for the same model, rules and token."""
        seed = claimant.seed(self.label)
        return self.anchor.claimed_by(claimant.identity, seed).model_key(seed, self.signed_time())

    def claimed_key(self, claimant: Claimant) -> bytes:
        """`model_key` if the manifest is the claimant's, else `wrong_key`."""
        return (self.model_key if self.owned_by(claimant) else self.wrong_key)(claimant)
