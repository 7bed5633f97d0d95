"""Tokens that were cut, lengthened, flipped or mutated: refused, or nothing signed has changed."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from modeldeed.errors import EvidenceError
from modeldeed.timestamping import check, request, signed_info, token_of
from modeldeed.timestamping.tokens import MAX_TOKEN_BYTES, Token
from tests.timestamping.authorities import LocalAuthority

IMPRINT = hashlib.sha256(b"a deed").digest()
AT = datetime(2015, 6, 1, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize("kind", ["now", "then"])
def test_truncated(one: LocalAuthority, kind: str) -> None:
    answer = one.stamp(request(IMPRINT), AT if kind == "then" else None)
    for size in range(0, len(answer), 7):
        with pytest.raises(EvidenceError):
            check(answer[:size], IMPRINT, [one.trusted])
    for more in (b"\x00", b"\x05\x00", answer):
        with pytest.raises(EvidenceError):
            check(answer + more, IMPRINT, [one.trusted])


def test_too_large_is_refused_before_it_is_parsed(one: LocalAuthority) -> None:
    large = bytes(MAX_TOKEN_BYTES + 1)
    for reader in (token_of, signed_info):
        with pytest.raises(EvidenceError, match="over the 65536 taken"):
            reader(large)


@pytest.mark.parametrize(("kind", "half"), [("then", 0), ("then", 1), ("now", 0), ("now", 1)])
def test_every_flipped_byte_fails_or_stands_in_a_certificate_that_is_not_needed(
    one: LocalAuthority, kind: str, half: int
) -> None:
    """A flip passes only in the root that `openssl ts` sends along, which nobody looks at."""
    token = token_of(one.stamp(request(IMPRINT), AT if kind == "then" else None))
    whole = Token.from_der(token)
    root = one.root.certificate.public_bytes(Encoding.DER)
    spare = range(token.find(root), token.find(root) + len(root)) if root in token else range(0)
    assert bool(spare) == (kind == "now")
    middle = len(token) // 2
    for place in range(middle) if half == 0 else range(middle, len(token)):
        if place in spare and place % 4:
            continue  # nothing in there counts; a fourth of it shows that
        # One flip for each byte, of a bit that depends on the place.
        flipped = bytearray(token)
        flipped[place] ^= 1 << (place * 5 % 8)
        try:
            stamp = check(bytes(flipped), IMPRINT, [one.trusted])
        except EvidenceError:
            continue
        assert place in spare
        parts = Token.from_der(bytes(flipped))
        assert stamp.info == whole.info_bytes
        assert parts.signer.signed == whole.signer.signed
        assert parts.signer.signature == whole.signer.signature


def test_noise_ends_in_an_evidence_error(one: LocalAuthority) -> None:
    """Nested and repeated elements: bounded time, one class of error."""
    for noise in (b"\x30\x80" * 1000, b"\x30\x00" * 30_000, b"\x30\x82\xff\xff" * 16_000):
        with pytest.raises(EvidenceError):
            token_of(noise)


@pytest.fixture(scope="module")
def token(one: LocalAuthority) -> bytes:
    return one.token_at(IMPRINT, AT, nonce=5)


@given(st.data())
def test_mutated_tokens_are_refused_or_sign_the_same(
    one: LocalAuthority, token: bytes, data: st.DataObject
) -> None:
    """Several bytes changed, removed or put in at once, in any place."""
    mutated = bytearray(token)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(mutated) - 1))
        width = data.draw(st.integers(0, 3))
        mutated[place : place + width] = data.draw(st.binary(max_size=3))
    try:
        stamp = check(bytes(mutated), IMPRINT, [one.trusted])
    except EvidenceError:
        return
    assert stamp.info == signed_info(token)
