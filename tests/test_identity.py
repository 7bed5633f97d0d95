"""Identities: every key under which one signature fits all messages is refused.

The constants in the code are checked with Edwards arithmetic of the test's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from modeldeed import identity
from modeldeed.errors import EvidenceError
from modeldeed.identity import Identity

P = 2**255 - 19
D = -121665 * pow(121666, P - 2, P) % P
ORDER = 2**252 + 27742317777372353535851937790883648493
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
Point = tuple[int, int]
NEUTRAL: Point = (0, 1)


def add(a: Point, b: Point) -> Point:
    product = D * a[0] * b[0] * a[1] * b[1] % P
    x = (a[0] * b[1] + a[1] * b[0]) * pow(1 + product, P - 2, P)
    y = (a[1] * b[1] + a[0] * b[0]) * pow(1 - product, P - 2, P)
    return x % P, y % P


def times(n: int, point: Point) -> Point:
    total = NEUTRAL
    while n:
        if n & 1:
            total = add(total, point)
        point = add(point, point)
        n >>= 1
    return total


def x_of(y: int) -> int | None:
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * ROOT_OF_MINUS_ONE % P
    return x if x * x % P == square else None


def encoded(y: int, sign: int) -> bytes:
    return (y | sign << 255).to_bytes(32, "little")


def small_order_points() -> list[Point]:
    """The subgroup of order 8, from a point whose large-order part is multiplied away."""
    for y in range(2, 100):
        if (x := x_of(y)) is None:
            continue
        generator = times(ORDER, (x, y))
        if times(4, generator) != NEUTRAL:
            return [times(n, generator) for n in range(8)]
    raise AssertionError("no point of order 8 found")


SMALL = small_order_points()


def dangerous_encodings() -> Iterator[bytes]:
    """Every 32 bytes that decode to one of the eight points, canonically or not."""
    for x, y in SMALL:
        signs = {x & 1} if x else {0, 1}  # x = 0 with a set sign is the non-canonical twin
        for written in (y, y + P):
            if written < 2**255:
                for sign in signs:
                    yield encoded(written, sign)


def test_there_are_eight_points_of_small_order() -> None:
    assert len(set(SMALL)) == 8
    for x, y in SMALL:
        assert (-x * x + y * y - 1 - D * x * x * y * y) % P == 0
        assert times(8, (x, y)) == NEUTRAL


def test_the_constants_of_the_code_are_their_y_coordinates() -> None:
    assert {y for _, y in SMALL} == identity._SMALL_ORDER_Y


@pytest.mark.parametrize("key", sorted(set(dangerous_encodings())), ids=bytes.hex)
def test_small_order_is_refused_in_every_encoding(key: bytes) -> None:
    with pytest.raises(EvidenceError, match=r"small order|canonical"):
        Identity(key)


def test_all_fourteen_such_encodings_are_tried() -> None:
    assert len(set(dangerous_encodings())) == 14


@pytest.mark.parametrize("above", range(19))
@pytest.mark.parametrize("sign", [0, 1])
def test_non_canonical_encodings_are_refused(above: int, sign: int) -> None:
    with pytest.raises(EvidenceError, match="canonical"):
        Identity(encoded(P + above, sign))


def test_points_off_the_curve_are_refused() -> None:
    off = [y for y in range(2, 60) if x_of(y) is None]
    on = [y for y in range(2, 60) if x_of(y) is not None]
    assert len(off) > 10
    assert len(on) > 10
    for y in off:
        with pytest.raises(EvidenceError, match="not a point of the curve"):
            Identity(encoded(y, y & 1))
    for y in on:
        assert Identity(encoded(y, y & 1)).public_key == encoded(y, y & 1)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_other_lengths_are_refused(length: int) -> None:
    with pytest.raises(EvidenceError, match=f"32 bytes, got {length}"):
        Identity(bytes(length))


def test_the_library_accepts_the_forgery_that_identity_refuses() -> None:
    """Under pk = 1 the signature (R = 1, S = 0) fits: S·B = 0 = R + h·pk for every message."""
    forged_key, forgery = encoded(1, 0), encoded(1, 0) + bytes(32)
    for message in (b"I own this model", b"so do I", b""):
        Ed25519PublicKey.from_public_bytes(forged_key).verify(forgery, message)
    with pytest.raises(EvidenceError, match="one signature of it fits every message"):
        Identity(forged_key)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=40))
def test_honest_keys_are_accepted(seed: bytes, message: bytes) -> None:
    secret = Ed25519PrivateKey.from_private_bytes(seed)
    public = Identity(secret.public_key().public_bytes_raw())
    signature = secret.sign(message)
    assert public.verify(signature, message)
    assert not public.verify(signature, message + b"\x00")
    assert not public.verify(bytes([signature[0] ^ 1]) + signature[1:], message)
    assert public.fingerprint == hashlib.sha256(public.public_key).hexdigest()


def test_a_signature_has_one_form() -> None:
    """S + L would fit the same equation (RFC 8032, 5.1.7 forbids it)."""
    secret = Ed25519PrivateKey.from_private_bytes(bytes(32))
    public = Identity(secret.public_key().public_bytes_raw())
    signature = secret.sign(b"message")
    s = int.from_bytes(signature[32:], "little") + ORDER
    assert not public.verify(signature[:32] + s.to_bytes(32, "little"), b"message")
    for length in (0, 63, 65):
        assert not public.verify((signature + b"\x00")[:length], b"message")
