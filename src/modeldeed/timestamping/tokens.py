"""Taking a TimeStampToken apart, strictly; nothing in it is verified here."""

from __future__ import annotations

from dataclasses import dataclass

from modeldeed.errors import EvidenceError
from modeldeed.timestamping.der import (
    BIT_STRING,
    OCTET_STRING,
    SEQUENCE,
    SET,
    Element,
    Elements,
    context,
    encode,
    encode_integer,
    parse,
)
from modeldeed.timestamping.tst_info import TstInfo

__all__ = ["MAX_TOKEN_BYTES", "Signer", "Token", "as_response", "signed_info", "token_of"]

MAX_TOKEN_BYTES = 64 * 2**10

_SIGNED_DATA = "1.2.840.113549.1.7.2"
_TST_INFO = "1.2.840.113549.1.9.16.1.4"
_MOST_CERTIFICATES = 16
_STATUS_WORDS = (
    "granted",
    "granted with modifications",
    "rejected",
    "waiting",
    "a revocation is imminent",
    "revoked",
)


@dataclass(frozen=True)
class Signer:
    """The one signer of a token, as the token says.

    Attributes:
        issuer: DER of the issuer's name in his certificate.
        serial: that certificate's serial number.
        digest: dotted identifier of the hash.
        signature_algorithm: dotted identifier.
        signature: its bytes.
        attributes: identifier to value of everything that is signed.
        signed: the signed bytes: the attributes as a set.
    """

    issuer: bytes
    serial: int
    digest: str
    signature_algorithm: str
    signature: bytes
    attributes: dict[str, Element]
    signed: bytes

    @classmethod
    def from_element(cls, element: Element) -> Signer:
        """Parse a SignerInfo.

        Raises:
            EvidenceError: it is malformed, of another version, or has no signed attributes.
        """
        fields = element.fields("SignerInfo")
        if fields.take().integer("SignerInfo version") != 1:
            raise EvidenceError("SignerInfo: only signers by issuer and serial number are known")
        who = fields.take().fields("signer")
        issuer = who.take().expect(SEQUENCE, "the signer's issuer").raw
        serial = who.take().integer("the signer's serial number")
        who.end()
        digest = fields.take().fields("the signer's hash").take().oid("the signer's hash")
        attributes = fields.take().expect(context(0), "signed attributes")
        kind = fields.take().fields("signature algorithm").take().oid("signature algorithm")
        signature = fields.take().expect(OCTET_STRING, "signature").content
        fields.optional(context(1))  # unsigned attributes prove nothing
        fields.end()
        return cls(
            issuer=issuer,
            serial=serial,
            digest=digest,
            signature_algorithm=kind,
            signature=signature,
            attributes=_attributes(attributes.fields("signed attributes", context(0))),
            signed=encode(SET, attributes.content),
        )


@dataclass(frozen=True)
class Token:
    """The parts of a TimeStampToken.

    Attributes:
        raw: all its bytes.
        info_bytes: the signed TSTInfo, DER.
        info: its fields.
        certificates: DER of the certificates that came along.
        signer: the one signer.
    """

    raw: bytes
    info_bytes: bytes
    info: TstInfo
    certificates: tuple[bytes, ...]
    signer: Signer

    @classmethod
    def from_der(cls, data: bytes) -> Token:
        """Parse strictly.

        Raises:
            EvidenceError: it is larger than 64 KiB, no DER, no signed TSTInfo, or has not exactly
                one signer.
        """
        _require_size(data)
        fields = parse(data, "timestamp token").fields("timestamp token")
        if fields.take().oid("timestamp token") != _SIGNED_DATA:
            raise EvidenceError("the timestamp token is no signed data")
        outer = fields.take().fields("timestamp token", context(0))
        fields.end()
        signed = outer.take().fields("signed data")
        outer.end()
        if signed.take().integer("signed data version") not in (1, 3):
            raise EvidenceError("signed data: only version 3 is known")
        signed.take().expect(SET, "hashes of signed data")
        info = _content(signed.take())
        certificates = signed.optional(context(0))
        signed.optional(context(1))  # revocation lists: not looked at, see docs/timestamps.md
        signers = signed.take().fields("signers", SET)
        signed.end()
        if len(signers) != 1:
            raise EvidenceError(f"a timestamp token has exactly one signer, got {len(signers)}")
        return cls(
            raw=data,
            info_bytes=info,
            info=TstInfo.from_der(info),
            certificates=_certificates(certificates),
            signer=Signer.from_element(signers.take()),
        )


def token_of(response_or_token: bytes) -> bytes:
    """The TimeStampToken in what an authority sent.

    Args:
        response_or_token: a TimeStampResp, the content of a ``.tsr`` file, or the bare token.

    Returns:
        DER of the token, well formed; nothing in it is verified yet.

    Raises:
        EvidenceError: it is larger than 64 KiB, malformed, or the authority did not grant it.

    Example:
        >>> token_of(bytes.fromhex("30053003020102"))
        Traceback (most recent call last):
        modeldeed.errors.EvidenceError: the authority did not grant the timestamp: ...
    """
    _require_size(response_or_token)
    fields = parse(response_or_token, "timestamp response").fields("timestamp response")
    if fields.left and fields.left[0].tag == SEQUENCE:
        _require_granted(fields.take())
        token = fields.take().raw
        fields.end()
    else:
        token = response_or_token
    Token.from_der(token)
    return token


def signed_info(token: bytes) -> bytes:
    """The TSTInfo that a token signs; the signature is not verified.

    It is what keys are derived from: all of it is signed, while other bytes of a token can be
    changed by anybody.

    Args:
        token: DER of a TimeStampToken, as `token_of` gives it.

    Returns:
        DER of the TSTInfo.

    Raises:
        EvidenceError: the token is malformed.
    """
    return Token.from_der(token).info_bytes


def as_response(token: bytes) -> bytes:
    """A granted TimeStampResp around a token, for readers that take no bare ones.

    The certificates are sorted as DER wants a set: OpenSSL leaves them as they come, and strict
    readers refuse that. They are not signed, so that the token stays as good as it was.
    """
    name, outer = parse(token, "token").fields("token").left
    fields = outer.fields("token", context(0)).take().fields("token").left
    sorted_fields = [
        encode(field.tag, *sorted(item.raw for item in field.fields("token", field.tag)))
        if field.tag == context(0)
        else field.raw
        for field in fields
    ]
    ordered = encode(SEQUENCE, name.raw, encode(context(0), encode(SEQUENCE, *sorted_fields)))
    return encode(SEQUENCE, encode(SEQUENCE, encode_integer(0)), ordered)


def _require_size(data: bytes) -> None:
    if len(data) > MAX_TOKEN_BYTES:
        raise EvidenceError(f"a timestamp has {len(data)} bytes, over the {MAX_TOKEN_BYTES} taken")


def _require_granted(element: Element) -> None:
    fields = element.fields("status")
    status = fields.take().integer("status")
    fields.optional(SEQUENCE)
    fields.optional(BIT_STRING)
    fields.end()
    if status != 0:
        word = _STATUS_WORDS[status] if 0 <= status < len(_STATUS_WORDS) else "unknown"
        raise EvidenceError(f"the authority did not grant the timestamp: status {status}, {word}")


def _content(element: Element) -> bytes:
    fields = element.fields("signed content")
    if fields.take().oid("signed content") != _TST_INFO:
        raise EvidenceError("what the token signs is no TSTInfo")
    outer = fields.take().fields("signed content", context(0))
    fields.end()
    content = outer.take().expect(OCTET_STRING, "signed content").content
    outer.end()
    return content


def _certificates(element: Element | None) -> tuple[bytes, ...]:
    if element is None:
        return ()
    found = tuple(item.raw for item in element.fields("certificates", context(0)))
    if len(found) > _MOST_CERTIFICATES:
        raise EvidenceError(f"{len(found)} certificates in a token, over {_MOST_CERTIFICATES}")
    return found


def _attributes(elements: Elements) -> dict[str, Element]:
    found: dict[str, Element] = {}
    for element in elements:
        fields = element.fields("signed attribute")
        name = fields.take().oid("signed attribute")
        values = fields.take().fields("signed attribute", SET)
        fields.end()
        if name in found or len(values) != 1:
            raise EvidenceError(f"the signed attribute {name} must stand once, with one value")
        found[name] = values.take()
    return found
