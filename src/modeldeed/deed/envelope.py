"""The signed envelope of a deed: DSSE with one Ed25519 signature, in exactly one spelling.

What is signed are the payload's bytes with their type (the pre-authentication encoding of DSSE).
They are verified before anything parses them. The envelope's file must equal its own canonical
serialization, so that no byte of it can change unnoticed.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, ValidationError

from modeldeed.bounds import require_few_values
from modeldeed.digests import canonical_json
from modeldeed.errors import EvidenceError
from modeldeed.evidence_model import EvidenceModel, Hex32
from modeldeed.identity import Identity
from modeldeed.owner import Owner
from modeldeed.strict_json import strict_json

__all__ = ["MAX_ENVELOPE_BYTES", "PAYLOAD_TYPE", "Envelope", "pre_authentication"]

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_ENVELOPE_BYTES = 8 * 2**20
_MAX_CANDIDATES = 256
# An envelope is an object with a list of one object; what is nested deeper is none.
_MOST_BRACKETS = 3
_KEY = re.compile(rb'"identity"\s*:\s*"([0-9a-f]{64})"')


class _Signature(EvidenceModel):
    keyid: Hex32
    sig: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{86}==$")]


class _Form(EvidenceModel):
    payload: str
    payloadType: str  # noqa: N815 - the name is the format's
    signatures: tuple[_Signature, ...]


@dataclass(frozen=True)
class Envelope:
    """A payload and the one signature over it.

    Attributes:
        payload: the signed bytes.
        signature: 64 bytes.
        identity: whose signature it is.
    """

    payload: bytes
    signature: bytes
    identity: Identity

    @classmethod
    def signed(cls, payload: bytes, owner: Owner) -> Envelope:
        """Sign a payload, whose text must name the owner's identity."""
        signature = owner.sign(pre_authentication(payload))
        return cls(payload, signature, owner.identity)

    @classmethod
    def parse(cls, data: bytes) -> Envelope:
        """Read an envelope and verify its signature; the payload is not parsed.

        Raises:
            EvidenceError: it is too large, malformed, not in its canonical form, has not exactly
                one signature, names a key that its payload does not, or was altered.
        """
        form = _parsed(data)
        (signature,) = form.signatures
        payload, sig = _decoded(form.payload, "payload"), _decoded(signature.sig, "signature")
        envelope = cls(payload, sig, _named_key(payload, signature.keyid))
        # Written again from what was decoded: base64 has spare bits, which decoders ignore.
        if envelope.to_bytes() != data:
            raise EvidenceError("the deed is not in canonical form: a byte of it was changed")
        if not envelope.identity.verify(sig, pre_authentication(payload)):
            raise EvidenceError(
                "the deed was altered: its signature by the identity it names does not fit"
            )
        return envelope

    def to_bytes(self) -> bytes:
        """The envelope's file: canonical JSON, without a line break at its end."""
        form = {
            "payload": base64.b64encode(self.payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [
                {
                    "keyid": self.identity.fingerprint,
                    "sig": base64.b64encode(self.signature).decode(),
                }
            ],
        }
        return canonical_json(form)

    @property
    def imprint(self) -> bytes:
        """What names the deed and what timestamps cover, 32 bytes.

        SHA-256 over the pre-authentication encoding and the signature behind its length in 8
        bytes: over what was signed and by what, not over a file that could be spelled otherwise.
        """
        length = len(self.signature).to_bytes(8, "big")
        return hashlib.sha256(pre_authentication(self.payload) + length + self.signature).digest()


def pre_authentication(payload: bytes) -> bytes:
    """The bytes that are signed: the payload with its type, each behind its length (DSSE).

    Example:
        >>> pre_authentication(b"{}")
        b'DSSEv1 28 application/vnd.in-toto+json 2 {}'
    """
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _parsed(data: bytes) -> _Form:
    if len(data) > MAX_ENVELOPE_BYTES:
        raise EvidenceError(f"a deed has at most {MAX_ENVELOPE_BYTES} bytes, this has {len(data)}")
    if data.count(b"{") + data.count(b"[") > _MOST_BRACKETS:
        raise EvidenceError(
            "this is no deed's envelope: it has more than one signature, or other parts nested "
            "in it; a deed has exactly one signature"
        )
    require_few_values(data, "envelope")
    strict_json(data)
    try:
        form = _Form.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise EvidenceError(
            f"the deed's envelope is malformed at {where or 'its top'}: {first['msg']}"
        ) from error
    if form.payloadType != PAYLOAD_TYPE:
        raise EvidenceError(
            f"the envelope holds {form.payloadType[:100]!r}; a deed's payload is {PAYLOAD_TYPE!r}"
        )
    if len(form.signatures) != 1:
        raise EvidenceError(f"a deed has exactly one signature, this has {len(form.signatures)}")
    return form


def _decoded(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise EvidenceError(f"the deed's {what} is not base64") from error


def _named_key(payload: bytes, keyid: str) -> Identity:
    """The public key in the payload whose fingerprint the envelope names.

    Found as plain text: parsing comes after verifying. A wrong find cannot verify, and the
    statement says afterwards which of its fields is the identity.
    """
    found = dict.fromkeys(_KEY.findall(payload))
    for text in list(found)[:_MAX_CANDIDATES]:
        key = bytes.fromhex(text.decode())
        if hashlib.sha256(key).hexdigest() == keyid:
            return Identity(key)
    raise EvidenceError(
        "the deed was altered: the key that its envelope names is not the identity in its payload"
    )
