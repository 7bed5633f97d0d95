"""Verifying a timestamp offline: at its own time, against pinned roots."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from modeldeed.errors import EvidenceError, OptionError
from modeldeed.timestamping.certificates import reading_certificates
from modeldeed.timestamping.query import Query
from modeldeed.timestamping.signatures import embedded_certificates, signer_certificate
from modeldeed.timestamping.stamp import Stamp
from modeldeed.timestamping.tokens import Token, as_response, token_of
from modeldeed.timestamping.trusted_authority import TrustedAuthority

__all__ = ["UntrustedAuthority", "check"]


class UntrustedAuthority(EvidenceError):  # noqa: N818 - says what is so, as HTTP libraries do
    """A token that is whole in itself, from an authority that the judge does not trust."""


def check(
    token: bytes,
    imprint: bytes,
    trusted: Iterable[TrustedAuthority],
    *,
    request: bytes | None = None,
) -> Stamp:
    """Verify a timestamp.

    No network is used. Certificates need to have been valid when the token was signed: one that
    has expired since is fine, see `renewal` for why to renew nevertheless.

    Args:
        token: DER of a TimeStampToken, or the whole response.
        imprint: the SHA-256 that it must be over, 32 bytes.
        trusted: the authorities that count.
        request: the request it answers, if there is one: nonce and policy must be its own.

    Returns:
        What it proves.

    Raises:
        EvidenceError: it is malformed, altered, not granted, over something else, answers another
            request, or its signer's certificate is not for timestamps or was not valid.
        UntrustedAuthority: it is whole, but no trusted authority has its policy and root.
        OptionError: the imprint is no SHA-256.
    """
    if len(imprint) != 32:
        raise OptionError(f"the imprint must be a SHA-256 of 32 bytes, got {len(imprint)}")
    parts = Token.from_der(token_of(token))
    if not hmac.compare_digest(parts.info.imprint, imprint):
        raise EvidenceError(
            f"the timestamp is over {parts.info.imprint.hex()[:16]}…, not {imprint.hex()[:16]}…"
        )
    if request is not None:
        _require_answer(parts, Query.from_der(request))
    signer = signer_certificate(parts)
    fitting, reasons = _fitting(parts, imprint, trusted)
    with reading_certificates("the token's certificates"):
        if fitting is None:
            raise UntrustedAuthority(
                f"no trusted authority made this timestamp (policy {parts.info.policy}, signed "
                f"by {_shown(signer)}): {'; '.join(reasons) or 'none is trusted'}"
            )
        expires = _expiry(signer, fitting, embedded_certificates(parts))
    return Stamp(
        authority=fitting.authority,
        earliest=parts.info.earliest,
        latest=parts.info.latest,
        imprint=imprint,
        info=parts.info_bytes,
        token=parts.raw,
        expires=expires,
    )


def _shown(certificate: x509.Certificate) -> str:
    # Whoever made it chose the name; a line break in it could show a judge anything.
    return repr(certificate.subject.rfc4514_string()[:100])


def _require_answer(parts: Token, query: Query) -> None:
    if parts.info.imprint != query.imprint:
        raise EvidenceError("the timestamp answers another request: its imprint differs")
    if parts.info.nonce != query.nonce:
        raise EvidenceError("the timestamp answers another request: its nonce differs")
    if query.policy is not None and parts.info.policy != query.policy:
        raise EvidenceError(
            f"the timestamp has policy {parts.info.policy}, {query.policy} was asked for"
        )


def _fitting(
    parts: Token, imprint: bytes, trusted: Iterable[TrustedAuthority]
) -> tuple[TrustedAuthority | None, list[str]]:
    """The first authority that a token is of, or why each is not its."""
    reasons = []
    for authority in trusted:
        name, policy = authority.authority.name, authority.authority.policy
        if policy != parts.info.policy:
            reasons.append(f"{name} has policy {policy}")
            continue
        reason = _chain_fault(parts, imprint, authority)
        if reason is None:
            return authority, []
        reasons.append(f"{name}: {reason}")
    return None, reasons


def _chain_fault(parts: Token, imprint: bytes, trusted: TrustedAuthority) -> str | None:
    """What rfc3161-client has against a token under this root; None for nothing."""
    # At first use only: plain verification of unanchored marks needs no timestamps.
    import rfc3161_client as rfc3161  # noqa: PLC0415

    builder = rfc3161.VerifierBuilder(
        policy_id=x509.ObjectIdentifier(trusted.authority.policy),
        roots=[trusted.root],
        intermediates=list(trusted.intermediates),
    )
    try:
        with reading_certificates("the token's certificates"):
            response = rfc3161.decode_timestamp_response(as_response(parts.raw))
            builder.build().verify(response, imprint)
    except (rfc3161.VerificationError, EvidenceError) as error:
        return str(error)
    except BaseException as error:
        # Its Rust core panics on some malformed input, outside of the tree of Exception.
        if type(error).__name__ != "PanicException":
            raise
        return f"malformed: {error}"
    return None


def _expiry(
    signer: x509.Certificate, trusted: TrustedAuthority, embedded: list[x509.Certificate]
) -> datetime:
    """When the first certificate between the signer and the root expires.

    Raises:
        EvidenceError: one of them is signed over a hash for which collisions are made.
    """
    between = {found.subject.public_bytes(): found for found in (*embedded, *trusted.intermediates)}
    root = trusted.root.subject.public_bytes()
    expires, found = trusted.root.not_valid_after_utc, signer
    while True:
        kind = found.signature_hash_algorithm
        if isinstance(kind, hashes.MD5 | hashes.SHA1):
            raise EvidenceError(f"a certificate in the token's chain is signed over {kind.name}")
        expires = min(expires, found.not_valid_after_utc)
        name = found.issuer.public_bytes()
        if name == root or name not in between:
            return expires
        found = between.pop(name)
