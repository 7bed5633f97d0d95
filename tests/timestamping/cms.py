"""A minimal writer of timestamp tokens, for what `openssl ts` does not make: chosen times, and
tokens that are wrong in one way each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from modeldeed.timestamping.der import (
    INTEGER,
    NULL,
    OCTET_STRING,
    SEQUENCE,
    SET,
    TIME,
    context,
    encode,
    encode_integer,
    encode_oid,
)

SHA256 = "2.16.840.1.101.3.4.2.1"
TST_INFO = "1.2.840.113549.1.9.16.1.4"
SIGNED_DATA = "1.2.840.113549.1.7.2"
CONTENT_TYPE = "1.2.840.113549.1.9.3"
MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
SIGNING_CERTIFICATE = "1.2.840.113549.1.9.16.2.12"
SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.47"
ECDSA_SHA256 = "1.2.840.10045.4.3.2"


@dataclass(frozen=True)
class Signing:
    """A key with its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def _algorithm(name: str) -> bytes:
    return encode(SEQUENCE, encode_oid(name), encode(NULL))


def accuracy_der(accuracy: timedelta) -> bytes:
    seconds, micros = int(accuracy.total_seconds()), accuracy.microseconds
    fields = [encode_integer(seconds)] if seconds else []
    for number, value in ((0, micros // 1000), (1, micros % 1000)):
        if value:
            content = encode_integer(value)[2:]
            fields.append(encode(context(number, constructed=False), content))
    return encode(SEQUENCE, *fields)


def info_der(
    imprint: bytes,
    policy: str,
    at: datetime,
    *,
    accuracy: timedelta | None = None,
    nonce: int | None = None,
    serial: int = 1,
    extra: bytes = b"",
) -> bytes:
    """A TSTInfo."""
    text = at.strftime("%Y%m%d%H%M%S")
    if at.microsecond:
        text += f".{at.microsecond:06d}".rstrip("0")
    return encode(
        SEQUENCE,
        encode_integer(1),
        encode_oid(policy),
        encode(SEQUENCE, _algorithm(SHA256), encode(OCTET_STRING, imprint)),
        encode_integer(serial),
        encode(TIME, text.encode() + b"Z"),
        b"" if accuracy is None else accuracy_der(accuracy),
        b"" if nonce is None else encode_integer(nonce),
        extra,
    )


def _attribute(name: str, value: bytes) -> bytes:
    return encode(SEQUENCE, encode_oid(name), encode(SET, value))


def signing_certificate(
    certificate: x509.Certificate, *, sha1: bool = False, place: bytes = b""
) -> bytes:
    """The attribute that names a certificate: ESSCertIDv2, or ESSCertID by SHA-1."""
    der = certificate.public_bytes(Encoding.DER)
    digest = (hashlib.sha1 if sha1 else hashlib.sha256)(der).digest()
    named = encode(SEQUENCE, encode(OCTET_STRING, digest), place)
    name = SIGNING_CERTIFICATE if sha1 else SIGNING_CERTIFICATE_V2
    return _attribute(name, encode(SEQUENCE, encode(SEQUENCE, named)))


def signer_info(info: bytes, by: Signing, *, naming: Sequence[bytes] | None = None) -> bytes:
    """A SignerInfo; `naming` are the attributes that say under which certificate it is."""
    if naming is None:
        naming = [signing_certificate(by.certificate)]
    attributes = b"".join(
        sorted(
            [
                _attribute(CONTENT_TYPE, encode_oid(TST_INFO)),
                _attribute(MESSAGE_DIGEST, encode(OCTET_STRING, hashlib.sha256(info).digest())),
                *naming,
            ]
        )
    )
    signature = by.key.sign(encode(SET, attributes), ec.ECDSA(hashes.SHA256()))
    serial = by.certificate.serial_number
    return encode(
        SEQUENCE,
        encode_integer(1),
        encode(SEQUENCE, by.certificate.issuer.public_bytes(), encode_integer(serial)),
        _algorithm(SHA256),
        encode(context(0), attributes),
        encode(SEQUENCE, encode_oid(ECDSA_SHA256)),
        encode(OCTET_STRING, signature),
    )


def token_der(
    info: bytes, signers: Sequence[bytes], certificates: Sequence[x509.Certificate]
) -> bytes:
    """A TimeStampToken."""
    signed = encode(
        SEQUENCE,
        encode_integer(3),
        encode(SET, _algorithm(SHA256)),
        encode(SEQUENCE, encode_oid(TST_INFO), encode(context(0), encode(OCTET_STRING, info))),
        encode(context(0), *sorted(found.public_bytes(Encoding.DER) for found in certificates)),
        encode(SET, *sorted(signers)),
    )
    return encode(SEQUENCE, encode_oid(SIGNED_DATA), encode(context(0), signed))


def response_der(token: bytes, status: int = 0) -> bytes:
    """A TimeStampResp."""
    head = encode(SEQUENCE, encode(INTEGER, bytes([status])))
    return encode(SEQUENCE, head, token)
