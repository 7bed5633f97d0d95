"""What a timestamp must be to count; each case is wrong in one way."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from modeldeed.errors import EvidenceError, OptionError
from modeldeed.timestamping import (
    TrustedAuthority,
    UntrustedAuthority,
    check,
    request,
    signed_info,
    token_of,
)
from modeldeed.timestamping.der import (
    BOOLEAN,
    OCTET_STRING,
    SEQUENCE,
    context,
    encode,
    encode_integer,
    encode_oid,
)
from tests.timestamping.authorities import ALWAYS, LocalAuthority, issue, make_authority
from tests.timestamping.cms import (
    Signing,
    info_der,
    response_der,
    signer_info,
    signing_certificate,
    token_der,
)

UTC = timezone.utc
IMPRINT = hashlib.sha256(b"a deed").digest()
OTHER = hashlib.sha256(b"another").digest()
AT = datetime(2015, 6, 1, 12, tzinfo=UTC)


def made(
    one: LocalAuthority,
    *,
    by: Signing | None = None,
    naming: Sequence[bytes] | None = None,
    along: Sequence[x509.Certificate] = (),
    extra: bytes = b"",
) -> bytes:
    """A token of an authority, or of somebody else under its policy."""
    signing = by or one.signing
    info = info_der(IMPRINT, one.policy, AT, extra=extra)
    signers = [signer_info(info, signing, naming=naming)]
    return token_der(info, signers, [signing.certificate, *along])


def test_response_and_bare_token_are_the_same(one: LocalAuthority) -> None:
    answer = one.stamp(request(IMPRINT))
    token = token_of(answer)
    assert token in answer
    assert token_of(token) == token
    assert check(answer, IMPRINT, [one.trusted]) == check(token, IMPRINT, [one.trusted])


def test_what_is_signed_is_in_the_token(one: LocalAuthority) -> None:
    token = token_of(one.stamp(request(IMPRINT)))
    info = signed_info(token)
    assert IMPRINT in info
    assert info in token


def test_another_imprint(one: LocalAuthority) -> None:
    token = token_of(one.stamp(request(IMPRINT)))
    with pytest.raises(EvidenceError, match="the timestamp is over"):
        check(token, OTHER, [one.trusted])
    with pytest.raises(OptionError, match="32 bytes"):
        check(token, b"short", [one.trusted])


def test_an_answer_to_another_request(one: LocalAuthority) -> None:
    asked = request(IMPRINT, nonce=5)
    token = token_of(one.stamp(asked))
    assert check(token, IMPRINT, [one.trusted], request=asked).imprint == IMPRINT
    with pytest.raises(EvidenceError, match="its nonce differs"):
        check(token, IMPRINT, [one.trusted], request=request(IMPRINT, nonce=6))
    with pytest.raises(EvidenceError, match="its imprint differs"):
        check(token, IMPRINT, [one.trusted], request=request(OTHER, nonce=5))
    with pytest.raises(EvidenceError, match=r"1\.2\.3\.4\.9 was asked for"):
        check(token, IMPRINT, [one.trusted], request=request(IMPRINT, nonce=5, policy="1.2.3.4.9"))
    without = one.token_at(IMPRINT, AT, nonce=None)
    with pytest.raises(EvidenceError, match="its nonce differs"):
        check(without, IMPRINT, [one.trusted], request=asked)


def test_another_policy_or_root_is_untrusted(one: LocalAuthority, two: LocalAuthority) -> None:
    token = token_of(one.stamp(request(IMPRINT)))
    stranger = TrustedAuthority.from_pem("One", "1.2.3.4.9", one.trusted.to_pem())
    same_policy = TrustedAuthority.from_pem("Two", one.policy, two.trusted.to_pem())
    for trusted in ([], [two.trusted], [stranger], [same_policy]):
        with pytest.raises(UntrustedAuthority, match="no trusted authority made this"):
            check(token, IMPRINT, trusted)
    found = check(token, IMPRINT, [stranger, two.trusted, same_policy, one.trusted])
    assert found.authority == one.trusted.authority


def test_an_authority_of_the_same_names_is_untrusted(one: LocalAuthority, tmp_path: Path) -> None:
    twin = make_authority(tmp_path, "One")
    with pytest.raises(UntrustedAuthority):
        check(twin.stamp(request(IMPRINT)), IMPRINT, [one.trusted])
    along = [twin.root.certificate, one.root.certificate]
    with pytest.raises(UntrustedAuthority):
        check(made(one, by=twin.signing, along=along), IMPRINT, [one.trusted])


@pytest.mark.parametrize(
    ("eku", "reason"),
    [
        ("missing", "not for timestamps: no EKU"),
        ("plain", "does not say critically"),
        ("server", "not for timestamps alone"),
        ("both", "not for timestamps alone"),
    ],
)
def test_a_certificate_for_something_else(tmp_path: Path, eku: str, reason: str) -> None:
    local = make_authority(tmp_path, "Odd", eku=eku, at=AT)
    with pytest.raises(EvidenceError, match=reason):
        check(local.stamp(request(IMPRINT)), IMPRINT, [local.trusted])


def test_the_root_itself_makes_no_timestamps(one: LocalAuthority) -> None:
    with pytest.raises(EvidenceError, match="not for timestamps"):
        check(made(one, by=one.root), IMPRINT, [one.trusted])


def test_a_signer_cannot_appoint_others(one: LocalAuthority) -> None:
    below = issue("Below", by=one.signing)
    token = made(one, by=below, along=[one.signing.certificate])
    with pytest.raises(UntrustedAuthority):
        check(token, IMPRINT, [one.trusted])


def test_intermediates_come_along_or_are_pinned(one: LocalAuthority) -> None:
    between = issue("Between", by=one.root, eku="ca")
    below = issue("Below", by=between)
    with pytest.raises(UntrustedAuthority):
        check(made(one, by=below), IMPRINT, [one.trusted])
    along = made(one, by=below, along=[between.certificate])
    assert check(along, IMPRINT, [one.trusted]).imprint == IMPRINT
    pinned = TrustedAuthority.from_pem(
        "One", one.policy, between.certificate.public_bytes(Encoding.PEM) + one.trusted.to_pem()
    )
    assert pinned.authority.root == one.trusted.authority.root
    assert check(made(one, by=below), IMPRINT, [pinned]).authority == pinned.authority


def test_an_intermediate_alone_is_no_root(one: LocalAuthority, two: LocalAuthority) -> None:
    """What comes along, or is pinned in between, never ends a chain."""
    between = issue("Between", by=two.root, eku="ca")
    below = issue("Below", by=between)
    pinned = replace(one.trusted, intermediates=(between.certificate,))
    with pytest.raises(UntrustedAuthority):
        check(made(one, by=below, along=[two.root.certificate]), IMPRINT, [pinned])


def test_another_certificate_is_named(one: LocalAuthority) -> None:
    """Two certificates of one key: the attribute says which one was meant."""
    real, other = one.signing.certificate, issue("Other", by=one.root).certificate
    right, wrong = signing_certificate(real), signing_certificate(other)
    right1, wrong1 = (signing_certificate(c, sha1=True) for c in (real, other))
    for naming in ([right], [right1], [right1, right]):
        assert check(made(one, naming=naming), IMPRINT, [one.trusted]).imprint == IMPRINT
    for naming in ([wrong], [wrong1], [right1, wrong], [wrong1, right]):
        with pytest.raises(EvidenceError, match="under another certificate"):
            check(made(one, naming=naming), IMPRINT, [one.trusted])
    with pytest.raises(EvidenceError, match="does not sign which certificate"):
        check(made(one, naming=[]), IMPRINT, [one.trusted])
    with pytest.raises(EvidenceError, match="must stand once"):
        check(made(one, naming=[right, right]), IMPRINT, [one.trusted])


def test_the_named_certificates_place(one: LocalAuthority) -> None:
    real = one.signing.certificate

    def place(issuer: x509.Name, serial: int) -> bytes:
        names = encode(SEQUENCE, encode(context(4), issuer.public_bytes()))
        return encode(SEQUENCE, names, encode_integer(serial))

    def naming(issuer: x509.Name, serial: int) -> list[bytes]:
        return [signing_certificate(real, place=place(issuer, serial))]

    right = made(one, naming=naming(real.issuer, real.serial_number))
    assert check(right, IMPRINT, [one.trusted]).imprint == IMPRINT
    for wrong in (
        naming(real.issuer, real.serial_number + 1),
        naming(real.subject, real.serial_number),
    ):
        with pytest.raises(EvidenceError, match="another certificate's serial number"):
            check(made(one, naming=wrong), IMPRINT, [one.trusted])


def test_two_signers(one: LocalAuthority, two: LocalAuthority) -> None:
    info = info_der(IMPRINT, one.policy, AT)
    both = [one.signing, two.signing]
    token = token_der(info, [signer_info(info, s) for s in both], [s.certificate for s in both])
    with pytest.raises(EvidenceError, match="exactly one signer, got 2"):
        check(token, IMPRINT, [one.trusted, two.trusted])
    with pytest.raises(EvidenceError, match="exactly one signer, got 0"):
        check(token_der(info, [], [one.signing.certificate]), IMPRINT, [one.trusted])


def test_no_certificate(one: LocalAuthority) -> None:
    info = info_der(IMPRINT, one.policy, AT)
    token = token_der(info, [signer_info(info, one.signing)], [])
    with pytest.raises(EvidenceError, match="does not hold its signer's certificate"):
        check(token, IMPRINT, [one.trusted])


def test_two_certificates_of_one_name(one: LocalAuthority) -> None:
    """Another key under the signer's issuer and serial number: nothing may depend on the order."""
    real = one.signing.certificate
    twin = issue("One signer", by=Signing(issue("x").key, one.root.certificate))
    same = (
        x509.CertificateBuilder()
        .subject_name(real.subject)
        .issuer_name(real.issuer)
        .public_key(twin.key.public_key())
        .serial_number(real.serial_number)
        .not_valid_before(ALWAYS[0])
        .not_valid_after(ALWAYS[1])
        .sign(twin.key, hashes.SHA256())
    )
    with pytest.raises(EvidenceError, match="two certificates in the token"):
        check(made(one, along=[same]), IMPRINT, [one.trusted])
    with pytest.raises(EvidenceError, match="not for timestamps"):
        check(made(one, by=Signing(twin.key, same)), IMPRINT, [one.trusted])


def test_a_signature_of_something_else(one: LocalAuthority) -> None:
    info = info_der(IMPRINT, one.policy, AT)
    later = info_der(IMPRINT, one.policy, AT - timedelta(days=1000))
    moved = token_der(later, [signer_info(info, one.signing)], [one.signing.certificate])
    with pytest.raises(EvidenceError, match="signs another TSTInfo"):
        check(moved, IMPRINT, [one.trusted])
    forged = Signing(issue("x").key, one.signing.certificate)
    with pytest.raises(EvidenceError, match="signature does not fit"):
        check(made(one, by=forged), IMPRINT, [one.trusted])


def test_only_a_granted_response_counts(one: LocalAuthority) -> None:
    for status, word in ((1, "modifications"), (2, "rejected"), (3, "waiting"), (9, "unknown")):
        with pytest.raises(EvidenceError, match=f"status {status}.*{word}"):
            token_of(response_der(made(one), status))


def test_critical_extensions_are_refused(one: LocalAuthority) -> None:
    body = [encode_oid("1.2.3.4"), encode(OCTET_STRING, b"")]
    plain = encode(context(1), encode(SEQUENCE, *body))
    assert check(made(one, extra=plain), IMPRINT, [one.trusted])
    body.insert(1, encode(BOOLEAN, b"\xff"))
    critical = encode(context(1), encode(SEQUENCE, *body))
    with pytest.raises(EvidenceError, match=r"critical extension 1\.2\.3\.4"):
        check(made(one, extra=critical), IMPRINT, [one.trusted])


def test_certificates_count_at_the_tokens_own_time(tmp_path: Path) -> None:
    """Expired now but valid then is fine; not valid then is not, whatever holds now."""
    span = (datetime(2010, 1, 1, tzinfo=UTC), datetime(2012, 1, 1, tzinfo=UTC))
    local = make_authority(tmp_path, "Old", valid=span)
    then = datetime(2011, 1, 1, tzinfo=UTC)
    stamp = check(local.stamp(request(IMPRINT), then), IMPRINT, [local.trusted])
    assert (stamp.earliest, stamp.expires) == (then - timedelta(seconds=1), span[1])
    for wrong in (span[0] - timedelta(days=1), span[1] + timedelta(days=1)):
        with pytest.raises(EvidenceError, match="was not valid at"):
            check(local.stamp(request(IMPRINT), wrong), IMPRINT, [local.trusted])
    young = make_authority(tmp_path, "Young", root_valid=span)
    assert check(young.stamp(request(IMPRINT), then), IMPRINT, [young.trusted]).expires == span[1]
    for wrong in (span[0] - timedelta(days=1), span[1] + timedelta(days=1)):
        with pytest.raises(UntrustedAuthority, match=r"expired|not yet valid"):
            check(young.stamp(request(IMPRINT), wrong), IMPRINT, [young.trusted])


def test_expiry_is_that_of_the_whole_chain(one: LocalAuthority) -> None:
    soon = datetime(2020, 1, 1, tzinfo=UTC)
    between = issue("Between", by=one.root, eku="ca", valid=(ALWAYS[0], soon))
    below = issue("Below", by=between)
    token = made(one, by=below, along=[between.certificate])
    assert check(token, IMPRINT, [one.trusted]).expires == soon
