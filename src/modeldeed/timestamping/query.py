"""The request to an authority: RFC 3161's TimeStampReq."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from modeldeed.errors import EvidenceError, OptionError
from modeldeed.timestamping.authority import Policy
from modeldeed.timestamping.der import (
    BOOLEAN,
    INTEGER,
    NULL,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    SEQUENCE,
    encode,
    encode_integer,
    encode_oid,
    parse,
)
from modeldeed.timestamping.tst_info import SHA256, algorithm

__all__ = ["Query", "request"]

_MAX_BYTES = 4096
_POLICY: TypeAdapter[str] = TypeAdapter(Policy)


def request(imprint: bytes, *, policy: str | None = None, nonce: int | None = None) -> bytes:
    """Make a request for a timestamp; any authority takes it.

    Args:
        imprint: the SHA-256 of what is to be dated, 32 bytes.
        policy: dotted identifier of the policy asked for; None leaves it to the authority.
        nonce: a positive number of at most 64 bits, which a fresh answer repeats; None draws one.

    Returns:
        DER of the TimeStampReq, the content of a ``.tsq`` file; it asks for the certificates too.

    Raises:
        OptionError: the imprint is no SHA-256, the policy no identifier, or the nonce out of range.

    Example:
        >>> Query.from_der(request(bytes(32), policy="1.2.3.4.1", nonce=7)).nonce
        7
    """
    if len(imprint) != 32:
        raise OptionError(f"the imprint must be a SHA-256 of 32 bytes, got {len(imprint)}")
    number = secrets.randbits(63) + 1 if nonce is None else nonce
    if not 0 < number < 2**64:
        raise OptionError(f"nonce must lie in 1 to 2^64 - 1, got {number}")
    hashed = encode(SEQUENCE, encode_oid(SHA256), encode(NULL))
    return encode(
        SEQUENCE,
        encode_integer(1),
        encode(SEQUENCE, hashed, encode(OCTET_STRING, imprint)),
        b"" if policy is None else encode_oid(_checked_policy(policy)),
        encode_integer(number),
        encode(BOOLEAN, b"\xff"),
    )


@dataclass(frozen=True)
class Query:
    """What a request asks for.

    Attributes:
        imprint: 32 bytes.
        policy: dotted identifier, or None.
        nonce: None without one.
    """

    imprint: bytes
    policy: str | None
    nonce: int | None

    @classmethod
    def from_der(cls, data: bytes) -> Query:
        """Parse a request strictly.

        Raises:
            EvidenceError: it is malformed, or asks for another hash than SHA-256.
        """
        if len(data) > _MAX_BYTES:
            raise EvidenceError(f"a timestamp request has {len(data)} bytes, over {_MAX_BYTES}")
        fields = parse(data, "timestamp request").fields("timestamp request")
        if fields.take().integer("request version") != 1:
            raise EvidenceError("timestamp request: only version 1 is known")
        hashed = fields.take().fields("the request's imprint")
        name = algorithm(hashed.take(), "the request's hash")
        imprint = hashed.take().expect(OCTET_STRING, "the request's imprint").content
        hashed.end()
        if name != SHA256 or len(imprint) != 32:
            raise EvidenceError("the timestamp request asks for no SHA-256")
        policy = fields.optional(OBJECT_IDENTIFIER)
        nonce = fields.optional(INTEGER)
        certificates = fields.optional(BOOLEAN)
        if certificates is not None:
            certificates.boolean("the request's wish for certificates")
        fields.end()
        return cls(
            imprint=imprint,
            policy=None if policy is None else policy.oid("the request's policy"),
            nonce=None if nonce is None else nonce.integer("the request's nonce"),
        )


def _checked_policy(policy: str) -> str:
    try:
        return _POLICY.validate_python(policy)
    except ValidationError as error:
        raise OptionError(
            f"policy must be a dotted identifier such as 1.2.3.4.1, got {policy!r}"
        ) from error
