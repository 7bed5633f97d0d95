"""Truncated and flipped files: nothing of a deed may change; of a token only what is not signed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from modeldeed import Passport
from modeldeed.deed import Deed, Opening
from modeldeed.deed.recomputing import shown_marks
from modeldeed.errors import EvidenceError
from modeldeed.timestamping import check
from modeldeed.timestamping.tokens import Token
from tests.deed.forgeries.world import EXAMPLE, NONCE, World, host


def flipped(data: bytes, bits: tuple[int, ...] = ()) -> Iterator[bytes]:
    """The data with one bit flipped: in every byte one bit, or the bits named.

    The last digits of base64 in JSON have a test of their own, in test_forms: of their bits some
    mean nothing.
    """
    spare = {match.start() for match in re.finditer(rb"[A-Za-z0-9+/]=+\"", data)}
    for place, byte in enumerate(data):
        if place in spare:
            continue
        for bit in bits or (place % 8,):
            yield data[:place] + bytes([byte ^ (1 << bit)]) + data[place + 1 :]


def test_no_byte_of_a_deed_can_be_flipped(world: World) -> None:
    small = Passport.issue(host(), world.real.owner, example=EXAMPLE)  # no token: half the bytes
    deed = Deed.create(world.real.file, owner=world.real.owner, marks=[small])
    data = deed.envelope.to_bytes()
    assert Deed.parse(data).digest == deed.digest
    for forged in flipped(data):
        with pytest.raises(EvidenceError):
            Deed.parse(forged)


@pytest.mark.slow
def test_no_bit_of_a_deed_can_be_flipped(world: World) -> None:
    for forged in flipped(world.real.deed.envelope.to_bytes(), tuple(range(8))):
        with pytest.raises(EvidenceError):
            Deed.parse(forged)


def test_a_deed_cannot_be_cut_or_lengthened(world: World) -> None:
    data = world.real.deed.envelope.to_bytes()
    for forged in (*(data[:n] for n in range(0, len(data), 7)), data[:-1]):
        with pytest.raises(EvidenceError):
            Deed.parse(forged)
    for extra in (b"\n", b" ", b"\x00", b"{}", data):
        for forged in (data + extra, extra + data):
            with pytest.raises(EvidenceError):
                Deed.parse(forged)


def test_no_byte_can_be_taken_out_of_a_deed_or_stand_twice(world: World) -> None:
    data = world.real.deed.envelope.to_bytes()
    for place in range(0, len(data), 11):
        for forged in (data[:place] + data[place + 1 :], data[: place + 1] + data[place:]):
            with pytest.raises(EvidenceError):
                Deed.parse(forged)


def _shown(world: World, data: bytes) -> None:
    shown_marks(world.real.deed, Opening.from_json(data), suspect=world.real.suspect, nonce=NONCE)


@pytest.mark.parametrize("options", [{}, {"batches": [0, 1]}], ids=["seed", "batches"])
def test_no_byte_of_an_opening_can_be_flipped(world: World, options: dict[str, list[int]]) -> None:
    data = world.real.opening(**options).to_json()
    _shown(world, data)
    for count, forged in enumerate(flipped(data)):
        if count % 3 == 0 or count < 400:  # the head, and samples of the rest, of every kind of bit
            with pytest.raises(EvidenceError):
                _shown(world, forged)


@pytest.mark.slow
def test_no_bit_of_an_opening_can_be_flipped(world: World) -> None:
    for forged in flipped(world.real.opening().to_json(), tuple(range(8))):
        with pytest.raises(EvidenceError):
            _shown(world, forged)


def test_an_opening_cannot_be_cut(world: World) -> None:
    data = world.real.opening().to_json()
    for size in range(0, len(data.rstrip()), 41):
        with pytest.raises(EvidenceError):
            _shown(world, data[:size])


def _signed_part(token: bytes) -> tuple[bytes, bytes, bytes]:
    parts = Token.from_der(token)
    return parts.info_bytes, parts.signer.signed, parts.signer.signature


def _passing(world: World, token: bytes, bits: tuple[int, ...] = ()) -> int:
    imprint, trusted = world.real.deed.imprint, world.trust.trusted
    stamp, signed = check(token, imprint, trusted), _signed_part(token)
    passed = 0
    for forged in flipped(token, bits):
        try:
            found = check(forged, imprint, trusted)
        except EvidenceError:
            continue
        passed += 1
        assert _signed_part(forged) == signed, "a flip in what is signed"
        assert (found.earliest, found.latest, found.info, found.authority) == (
            stamp.earliest, stamp.latest, stamp.info, stamp.authority,
        )  # fmt: skip
    return passed


def test_a_flip_in_a_token_passes_only_outside_of_what_is_signed(world: World) -> None:
    for token in world.real.deed.tokens:
        assert _passing(world, token) < 64, "the few bytes of hashes and names that repeat"


@pytest.mark.slow
def test_a_flipped_bit_in_a_token_passes_only_outside_of_what_is_signed(world: World) -> None:
    _passing(world, world.real.deed.tokens[0], tuple(range(8)))


def test_a_token_cannot_be_cut_or_lengthened(world: World) -> None:
    token = world.real.deed.tokens[0]
    for size in range(0, len(token), 3):
        with pytest.raises(EvidenceError):
            check(token[:size], world.real.deed.imprint, world.trust.trusted)
    for extra in (b"\x00", b"\x05\x00", token):
        with pytest.raises(EvidenceError):
            check(token + extra, world.real.deed.imprint, world.trust.trusted)


def test_a_deed_with_a_broken_token_is_invalid_not_merely_undated(world: World) -> None:
    good = world.real.deed.tokens
    for broken in (b"", b"\x30", good[0][:-1], good[0][:200] + b"\xff" + good[0][201:]):
        deed = Deed.parse(world.real.deed.envelope.to_bytes(), (good[0], broken))
        found = deed.check(trust=world.trust)
        assert not found.valid
        with pytest.raises(EvidenceError, match="does not verify"):
            found.require_valid()
