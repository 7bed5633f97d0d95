"""Keyed streams against slow twins written from the RFCs, and golden vectors."""

from __future__ import annotations

import hashlib
import hmac
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modeldeed.errors import OptionError
from modeldeed.streams import KeyStream, derive

KEY = bytes(range(32))
MASK = 2**32 - 1


# --- the twins ---


def slow_label(*label: str | int) -> bytes:
    parts = [b"modeldeed/v1"]
    for part in label:
        parts.append((b"i%d" % part) if isinstance(part, int) else b"s" + part.encode("utf-8"))
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def slow_derive(key: bytes, *label: str | int, salt: bytes = b"") -> bytes:
    """HKDF-SHA256 (RFC 5869), one block."""
    extracted = hmac.new(salt or bytes(32), key, hashlib.sha256).digest()
    return hmac.new(extracted, slow_label(*label) + b"\x01", hashlib.sha256).digest()


def quarter(state: list[int], a: int, b: int, c: int, d: int) -> None:
    for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        state[x] = (state[x] + state[y]) & MASK
        state[z] ^= state[x]
        state[z] = ((state[z] << turn) | (state[z] >> (32 - turn))) & MASK


def block(key: bytes, counter: int) -> bytes:
    """One ChaCha20 block (RFC 8439, 2.3) under the all-zero nonce."""
    words = [int.from_bytes(key[i : i + 4], "little") for i in range(0, 32, 4)]
    start = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574, *words, counter, 0, 0, 0]
    state = list(start)
    for _ in range(10):
        for i in range(4):
            quarter(state, i, i + 4, i + 8, i + 12)
        for i in range(4):
            quarter(state, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return b"".join(
        ((x + y) & MASK).to_bytes(4, "little") for x, y in zip(state, start, strict=True)
    )


def slow_bytes(count: int, *label: str | int) -> bytes:
    subkey = slow_derive(KEY, "stream", *label)
    return b"".join(block(subkey, i) for i in range(-(-count // 64)))[:count]


def test_the_twin_gives_the_block_of_the_rfc() -> None:
    """RFC 8439, A.1, test vector 1."""
    assert block(bytes(32), 0).hex().startswith("76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1a")


# --- against the twins ---

labels = st.lists(st.one_of(st.text(max_size=8), st.integers(-5, 2**70)), min_size=1, max_size=4)


@given(st.binary(min_size=32, max_size=32), labels, st.binary(max_size=70))
def test_derive_is_hkdf(key: bytes, label: list[str | int], salt: bytes) -> None:
    assert derive(key, *label, salt=salt) == slow_derive(key, *label, salt=salt)


def test_bytes_are_chacha20() -> None:
    assert KeyStream(KEY, "bytes", 3).read(300) == slow_bytes(300, "bytes", 3)


def test_signs_are_bits_from_the_least_significant_one() -> None:
    packed = slow_bytes(5, "signs")
    expected = [1 if packed[i // 8] >> (i % 8) & 1 else -1 for i in range(39)]
    found = KeyStream(KEY, "signs").signs(3, 13)
    assert found.dtype == torch.int8
    assert found.shape == (3, 13)
    assert found.flatten().tolist() == expected


@pytest.mark.parametrize("start", [0, 1, 63, 64, 65, 200, 299])
def test_a_stream_can_be_read_from_any_byte(start: int) -> None:
    stream = KeyStream(KEY, "bytes", 3)
    stream.read(7)
    assert stream.at(start).read(300 - start) == slow_bytes(300, "bytes", 3)[start:]
    assert stream.read(5) == slow_bytes(12, "bytes", 3)[7:], "the first reader stays where it was"


def test_a_stream_ends_where_its_counter_does() -> None:
    last = 64 * (2**32 - 1)
    subkey = slow_derive(KEY, "stream", "far")
    assert KeyStream(KEY, "far").at(last).read(64) == block(subkey, 2**32 - 1)
    for start in (-1, last + 64):
        with pytest.raises(OptionError, match="start must be in"):
            KeyStream(KEY, "far").at(start)


@pytest.mark.parametrize("bound", [1, 2, 10, 2**31 + 1, 2**32 - 1, 2**32])
def test_integers_come_by_rejection(bound: int) -> None:
    data = slow_bytes(4 * 200, "integers")
    words = [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]
    kept = [word % bound for word in words if word < 2**32 - 2**32 % bound]
    assert (len(kept) < 150) == (bound == 2**31 + 1), "half of all words are beyond 2^31"
    assert KeyStream(KEY, "integers").integers(bound, 60).tolist() == kept[:60]


def test_uniform_numbers_are_the_odd_multiples() -> None:
    data = slow_bytes(4 * 64, "uniform")
    words = [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]
    expected = [(2 * (word // 256) + 1 - 2**24) / 2**24 for word in words]
    found = KeyStream(KEY, "uniform").uniform(8, 8)
    assert found.dtype == torch.float32
    assert found.flatten().double().tolist() == expected


# --- golden vectors: they hold the format still ---

GOLDEN = {
    "derive": "ba5ca7a3d90c88aee4ad4382d93c3f060e93fc24e8e77f70ef1efaeccf69f216",
    "signs": "00776e9197643845453a57dc3d6bbb299eb59beb7b533abf935dee13d682d896",
    "integers": "1e30320149c3989a392e1550f051841dbee9b9338df08f222e840f5ffd97e495",
    "rejected": "99b50df0918c08bdebeb6811b6c4f00f06c83c46569ed144abd6a0267c29bfe0",
    "uniform": "8b33bfb71bee6e1fbd3c3e44df2a091bcea1349bb0a973d005d508da5838678f",
}


def golden(name: str) -> bytes:
    stream = KeyStream(KEY, "golden", name, 1)
    if name == "derive":
        return derive(KEY, "golden", "derive", 1, salt=b"salt")
    if name == "signs":
        return stream.signs(64, 65).numpy().tobytes()
    if name == "integers":
        return stream.integers(10, 1000).numpy().astype("<i8").tobytes()
    if name == "rejected":
        return stream.integers(2**31 + 1, 1000).numpy().astype("<i8").tobytes()
    return stream.uniform(1000).numpy().astype("<f4").tobytes()


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_vector(name: str) -> None:
    assert hashlib.sha256(golden(name)).hexdigest() == GOLDEN[name]


# --- laws ---


@given(st.lists(st.integers(0, 200), max_size=8))
def test_reading_continues_where_the_last_reading_ended(counts: list[int]) -> None:
    stream = KeyStream(KEY, "pieces")
    pieces = b"".join(stream.read(count) for count in counts)
    assert pieces == KeyStream(KEY, "pieces").read(sum(counts))


def test_signs_take_whole_bytes() -> None:
    stream = KeyStream(KEY, "padded")
    stream.signs(3)
    whole = KeyStream(KEY, "padded")
    whole.read(1)
    assert stream.read(16) == whole.read(16)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1,), ("1",)),
        (("i1",), (1,)),
        (("a", "b"), ("ab",)),
        (("a", "b"), ("a", "b", "")),
        (("a", 12), ("a", 1, 2)),
        ((True,), (1,)),
    ],
)
def test_labels_do_not_collide(one: tuple[str | int, ...], other: tuple[str | int, ...]) -> None:
    assert derive(KEY, *one) != derive(KEY, *other)
    assert KeyStream(KEY, *one).read(32) != KeyStream(KEY, *other).read(32)


def test_a_stream_is_not_under_the_derived_key_of_its_label() -> None:
    assert slow_bytes(32, "model") != derive(KEY, "model")
    assert derive(KEY, "model", salt=b"x") != derive(KEY, "model")
    assert derive(bytes(32), "model") != derive(KEY, "model")


@pytest.mark.parametrize(("bound", "critical"), [(2, 10.8), (10, 27.9), (168, 229.0)])
def test_integers_are_unbiased(bound: int, critical: float) -> None:
    """Chi-squared of 50,000 draws against its 99.9 % point."""
    draws = KeyStream(KEY, "chi").integers(bound, 50_000)
    expected = 50_000 / bound
    counted = torch.bincount(draws, minlength=bound).double()
    assert len(counted) == bound
    assert ((counted - expected) ** 2 / expected).sum() < critical


def test_a_bound_that_does_not_divide_the_words_has_no_modulo_bias() -> None:
    """Chi-squared over thirds; 99.9 % point of 2 degrees is 13.8."""
    draws = KeyStream(KEY, "bias").integers(3 * 2**30, 30_000).double()
    counted = torch.bincount((draws / 2**30).floor().long(), minlength=3).double()
    # Without rejection the first third would hold one half of all draws.
    assert ((counted - 10_000) ** 2 / 10_000).sum() < 13.8


def test_uniform_numbers_never_reach_zero_or_one() -> None:
    numbers = KeyStream(KEY, "uniform", "law").uniform(200_000).double()
    assert numbers.abs().max() < 1
    assert numbers.abs().min() > 0
    steps = numbers * 2**24
    assert torch.equal(steps, steps.round())
    assert torch.equal(steps.remainder(2), torch.ones_like(steps))
    # Four standard deviations of the mean and of the second moment.
    assert abs(numbers.mean()) < 4 / math.sqrt(3 * 200_000)
    assert abs(numbers.square().mean() - 1 / 3) < 4 * math.sqrt(4 / 45 / 200_000)


def test_signs_are_balanced() -> None:
    signs = KeyStream(KEY, "balance").signs(400, 250).double()
    assert abs(signs.mean()) < 4 / math.sqrt(signs.numel())
    neighbours = (signs[:, 1:] * signs[:, :-1]).mean()
    assert abs(neighbours) < 4 / math.sqrt(signs.numel())


def test_global_seeds_neither_matter_nor_move() -> None:
    def everything() -> list[bytes]:
        return [golden(name) for name in GOLDEN]

    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    try:
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002
        before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        first = everything()
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
        torch.manual_seed(2)
        np.random.seed(2)  # noqa: NPY002
        assert everything() == first
    finally:
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)  # noqa: NPY002


def test_the_default_dtype_does_not_matter() -> None:
    expected = KeyStream(KEY, "dtype").uniform(9)
    torch.set_default_dtype(torch.float64)
    try:
        found = KeyStream(KEY, "dtype").uniform(9)
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33)])
def test_a_key_of_another_length_is_refused(key: bytes) -> None:
    with pytest.raises(OptionError, match=f"32 bytes, got {len(key)}"):
        derive(key, "label")
    with pytest.raises(OptionError, match=f"32 bytes, got {len(key)}"):
        KeyStream(key, "label")


def test_a_derived_key_without_a_label_is_refused() -> None:
    with pytest.raises(OptionError, match="label"):
        derive(KEY)


@pytest.mark.parametrize("bound", [0, -1, 2**32 + 1])
def test_a_bound_out_of_range_is_refused(bound: int) -> None:
    with pytest.raises(OptionError, match="bound must be in"):
        KeyStream(KEY, "bound").integers(bound, 1)
