"""Whether a token is what its own signer signed: everything short of trust in him.

rfc3161-client verifies the chain and the signature in one step, and does not look at the signing
certificate attribute, so that it cannot tell an altered token from one of an unknown authority.
Both are done here with cryptography; the library still has to agree (see `checking`).
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from modeldeed.errors import EvidenceError
from modeldeed.timestamping.certificates import reading_certificates
from modeldeed.timestamping.der import OCTET_STRING, SEQUENCE, Element, context, parse
from modeldeed.timestamping.tokens import Signer, Token
from modeldeed.timestamping.tst_info import SHA256

__all__ = ["embedded_certificates", "signer_certificate"]

_CONTENT_TYPE = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
# ESSCertID by SHA-1, and ESSCertIDv2.
_SIGNING_CERTIFICATE = ("1.2.840.113549.1.9.16.2.12", "1.2.840.113549.1.9.16.2.47")
_TST_INFO = "1.2.840.113549.1.9.16.1.4"
_LEAST_RSA_BITS = 2048

_HASHES: dict[str, hashes.HashAlgorithm] = {
    SHA256: hashes.SHA256(),
    "2.16.840.1.101.3.4.2.2": hashes.SHA384(),
    "2.16.840.1.101.3.4.2.3": hashes.SHA512(),
}
_RSA = "1.2.840.113549.1.1.1"
# Signature algorithm to the one hash that it may go with; None for any.
_RSA_WITH = {
    _RSA: None,
    "1.2.840.113549.1.1.11": "sha256",
    "1.2.840.113549.1.1.12": "sha384",
    "1.2.840.113549.1.1.13": "sha512",
}
_ECDSA_WITH = {
    "1.2.840.10045.4.3.2": "sha256",
    "1.2.840.10045.4.3.3": "sha384",
    "1.2.840.10045.4.3.4": "sha512",
}


def signer_certificate(token: Token) -> x509.Certificate:
    """The certificate under which a token was signed, all of its own statements being true.

    Checked: the signed attributes name TSTInfo, its hash and this certificate (ESSCertIDv2, or the
    older ESSCertID), the signature fits, the certificate is for timestamps alone (critical) and
    was valid when the token says it was signed.

    Raises:
        EvidenceError: one of these is not so, or an algorithm is unknown or too weak.
    """
    signer = token.signer
    kind = _hash(signer.digest, "the signer's hash")
    with reading_certificates("the token's certificates"):
        certificate = _named(embedded_certificates(token), signer)
        _require_attributes(signer, token.info_bytes, kind)
        _require_this_certificate(signer, certificate)
        _require_signature(signer, certificate, kind)
        _require_purpose(certificate)
        _require_valid(certificate, token.info.time)
    return certificate


def embedded_certificates(token: Token) -> list[x509.Certificate]:
    """The certificates that came along with a token.

    Raises:
        EvidenceError: one cannot be read.
    """
    with reading_certificates("the token's certificates"):
        return [x509.load_der_x509_certificate(data) for data in token.certificates]


def _hash(name: str, what: str) -> hashes.HashAlgorithm:
    kind = _HASHES.get(name)
    if kind is None:
        raise EvidenceError(f"{what} {name} is unknown or too weak; SHA-256, -384 or -512 count")
    return kind


def _named(certificates: list[x509.Certificate], signer: Signer) -> x509.Certificate:
    found = [
        certificate
        for certificate in certificates
        if certificate.serial_number == signer.serial
        and certificate.issuer.public_bytes() == signer.issuer
    ]
    # Of two, the library could take another one than is looked at here.
    if len(found) > 1:
        raise EvidenceError("two certificates in the token go by the name of its signer")
    if not found:
        raise EvidenceError(
            "the token does not hold its signer's certificate; ask the authority for it (certReq)"
        )
    return found[0]


def _attribute(signer: Signer, name: str, what: str) -> Element:
    found = signer.attributes.get(name)
    if found is None:
        raise EvidenceError(f"the token does not sign {what}")
    return found


def _require_attributes(signer: Signer, info: bytes, kind: hashes.HashAlgorithm) -> None:
    content = _attribute(signer, _CONTENT_TYPE, "its content's type")
    if content.oid("content type") != _TST_INFO:
        raise EvidenceError("the token signs another type of content")
    digest = _attribute(signer, _MESSAGE_DIGEST, "its content's hash")
    signed = digest.expect(OCTET_STRING, "message digest").content
    if not hmac.compare_digest(signed, hashlib.new(kind.name, info).digest()):
        raise EvidenceError("the token was altered: it signs another TSTInfo")


def _require_this_certificate(signer: Signer, certificate: x509.Certificate) -> None:
    """Require that every signed statement about the certificate names this one, and one does.

    The older attribute names it by SHA-1. It counts, since large authorities still sign no other
    (RFC 5816 allows both): the statement only tells apart certificates of the same key, and
    another one of the same digest would be a second preimage, not a collision.
    """
    stated = [signer.attributes.get(name) for name in _SIGNING_CERTIFICATE]
    if not any(stated):
        raise EvidenceError("the token does not sign which certificate it is under (ESSCertID)")
    what = "signing certificate"
    for attribute, newer in zip(stated, (False, True), strict=True):
        if attribute is None:
            continue
        first = attribute.fields(what).take().fields(what).take().fields(what)
        kind = first.optional(SEQUENCE) if newer else None
        name = SHA256 if kind is None else kind.fields(what).take().oid(what)
        digest = first.take().expect(OCTET_STRING, what).content
        where = first.optional(SEQUENCE)
        first.end()
        made = hashlib.new(_hash(name, "the certificate's hash").name if newer else "sha1")
        made.update(certificate.public_bytes(Encoding.DER))
        if not hmac.compare_digest(digest, made.digest()):
            raise EvidenceError("the token was signed under another certificate (ESSCertID)")
        if where is not None:
            _require_place(where, signer)


def _require_place(where: Element, signer: Signer) -> None:
    what = "signing certificate's issuer and serial number"
    fields = where.fields(what)
    issuer = fields.take().fields(what).take().fields(what, context(4)).take().raw
    if issuer != signer.issuer or fields.take().integer(what) != signer.serial:
        raise EvidenceError("the token names another certificate's serial number (ESSCertID)")


def _require_signature(
    signer: Signer, certificate: x509.Certificate, kind: hashes.HashAlgorithm
) -> None:
    name = signer.signature_algorithm
    try:
        key = certificate.public_key()
        if isinstance(key, RSAPublicKey) and _RSA_WITH.get(name, "") in (None, kind.name):
            if key.key_size < _LEAST_RSA_BITS:
                raise EvidenceError(f"the signer's RSA key has only {key.key_size} bits")
            key.verify(signer.signature, signer.signed, PKCS1v15(), kind)
        elif isinstance(key, EllipticCurvePublicKey) and _ECDSA_WITH.get(name) == kind.name:
            parse(signer.signature, "ECDSA signature")
            key.verify(signer.signature, signer.signed, ECDSA(kind))
        else:
            raise EvidenceError(
                f"the signature algorithm {name} does not go with the signer's key and hash; RSA "
                "(PKCS 1 v1.5) and ECDSA count"
            )
    except InvalidSignature:
        raise EvidenceError("the token was altered: its signature does not fit") from None


def _require_purpose(certificate: x509.Certificate) -> None:
    try:
        purpose = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        raise EvidenceError("the signer's certificate is not for timestamps: no EKU") from None
    if list(purpose.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        raise EvidenceError("the signer's certificate is not for timestamps alone (EKU)")
    if not purpose.critical:
        raise EvidenceError("the signer's certificate does not say critically what it is for (EKU)")
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not (usage.digital_signature or usage.content_commitment):
        raise EvidenceError("the signer's key is not for signatures (key usage)")
    if usage.key_cert_sign or usage.crl_sign:
        raise EvidenceError("the signer's key is for certificates too (key usage)")


def _require_valid(certificate: x509.Certificate, when: datetime) -> None:
    if not certificate.not_valid_before_utc <= when <= certificate.not_valid_after_utc:
        raise EvidenceError(
            f"the signer's certificate was not valid at {when:%Y-%m-%d %H:%M:%S} UTC, "
            "when the token was signed"
        )
