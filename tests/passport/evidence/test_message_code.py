"""The code of a message: what it survives, what it holds, and its golden form."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from modeldeed.anchor import MAX_MESSAGE_BYTES
from modeldeed.passport.evidence import message as message_module
from modeldeed.passport.evidence.message import (
    MIN_WORD,
    ROBUST_WORD,
    capacity,
    decode,
    encode,
)
from modeldeed.streams import KeyStream

KEY = bytes(range(32))
TEXT = "© Acme 2026"
DATA = TEXT.encode()


def flipped(signs: Tensor, share: float, seed: int) -> Tensor:
    """Readings of which exactly so large a share has the wrong sign, none more certain."""
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.randperm(len(signs), generator=generator)[: round(share * len(signs))]
    readings = 4.0 * signs.double()
    readings[wrong] *= -1
    return readings


def is_data(candidate: bytes) -> bool:
    return candidate == DATA


@pytest.mark.parametrize(("bits", "share"), [(720, 0.15), (1200, 0.25), (4800, 0.35)])
def test_a_message_survives_flips(bits: int, share: float) -> None:
    """One in twenty may be lost at the limit; a majority vote over repeated bits loses all."""
    signs = encode(KEY, DATA, bits)
    found = [decode(KEY, flipped(signs, share, seed), len(DATA), is_data) for seed in range(20)]
    read = [reading for reading in found if reading]
    assert len(read) >= 19
    assert {reading.message for reading in read} == {DATA}
    assert {reading.flipped for reading in read} == {round(share * bits)}


def test_without_flips_nothing_is_corrected() -> None:
    found = decode(KEY, flipped(encode(KEY, DATA, 720), 0, 0), len(DATA), is_data)
    assert found is not None
    assert (found.corrected, found.flipped) == (0, 0)


def test_corrected_symbols_are_counted() -> None:
    """All bits of three words turned: three symbols are wrong and put right."""
    signs = encode(KEY, DATA, 1200)
    order = KeyStream(KEY, "message", "order").uniform(1200).argsort(stable=True)
    word = 1200 // 18
    readings = 4.0 * signs.double()
    readings[order[: 3 * word]] *= -1
    found = decode(KEY, readings, len(DATA), is_data)
    assert found is not None
    assert (found.message, found.corrected, found.flipped) == (DATA, 3, 3 * word)


def test_a_lost_layer_is_borne() -> None:
    """Bits in a row that cannot be read lie in all symbols a few each, and no symbol is lost."""
    readings = 4.0 * encode(KEY, DATA, 1200).double()
    readings[300:1000] = torch.nan
    found = decode(KEY, readings, len(DATA), is_data)
    assert found is not None
    assert (found.corrected, found.flipped) == (0, 700)
    assert decode(KEY, torch.full((1200,), torch.nan), len(DATA), is_data) is None


def test_a_few_huge_readings_do_not_outvote_the_rest() -> None:
    readings = encode(KEY, DATA, 1200).double()
    readings[::8] *= -1000
    found = decode(KEY, readings, len(DATA), is_data)
    assert found is not None
    assert found.message == DATA


def test_certain_readings_count_more_than_doubtful_ones() -> None:
    """Of the bits, 45 % are flipped, but those read faintly: votes of signs alone would fail."""
    signs = encode(KEY, DATA, 1200).double()
    doubtful = flipped(signs, 0.45, 3)
    wrong = doubtful.sign() != signs
    soft = torch.where(wrong, 0.3 * doubtful.sign(), 3.0 * signs)
    assert decode(KEY, doubtful.sign(), len(DATA), is_data) is None
    assert decode(KEY, soft, len(DATA), is_data) is not None


@given(
    data=st.binary(min_size=1, max_size=MAX_MESSAGE_BYTES),
    more=st.integers(0, 500),
    key=st.binary(min_size=32, max_size=32),
)
def test_every_message_that_fits_is_read_back(data: bytes, more: int, key: bytes) -> None:
    least = MIN_WORD * (len(data) + max(2, (len(data) + 1) // 2))
    assert capacity(least) == len(data)
    signs = encode(key, data, least + more)
    assert set(signs.unique().tolist()) <= {-1, 1}
    found = decode(key, signs.double(), len(data), lambda candidate: candidate == data)
    assert found is not None
    assert (found.message, found.corrected) == (data, 0)


def test_the_capacity_is_what_the_layout_holds() -> None:
    for bits in (0, 95, 96, 160, 720, 1200, 4800, 100_000):
        for word in (MIN_WORD, ROBUST_WORD):
            most = capacity(bits, word)
            need = [(m + max(2, (m + 1) // 2)) * word for m in (most, most + 1)]
            assert most == 0 or need[0] <= bits
            assert most == MAX_MESSAGE_BYTES or need[1] > bits
    assert (capacity(720), capacity(720, ROBUST_WORD), capacity(1200, ROBUST_WORD)) == (14, 7, 12)


GOLDEN_CODE = "fe54fcd19bcc2ffb51f41e7a1148a083f094eb377bf7de22f5159ec447c4526f"


def test_golden_code() -> None:
    signs = encode(KEY, DATA, 720)
    packed = bytes((signs > 0).to(torch.uint8).tolist())
    assert hashlib.sha256(packed).hexdigest() == GOLDEN_CODE


# --- chance never shows a message ---


def test_a_defective_outer_code_is_not_taken_for_a_message(monkeypatch: Any) -> None:
    """Every candidate is held against the commitment, also those of a decoder gone mad."""
    monkeypatch.setattr(
        message_module, "_candidates", lambda *_: iter([(b"anything", b"\x00" * 18)])
    )
    assert decode(KEY, torch.ones(720), 12, is_data) is None
