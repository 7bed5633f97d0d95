"""Digests: injective, independent of storage, and equal to slow twins."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from modeldeed.digests import (
    DTYPE_NAMES,
    canonical_json,
    commitment,
    joined,
    merkle_root,
    sha256,
    tensor_bytes,
    tensor_root,
)
from modeldeed.errors import EvidenceError

# --- joined ---


def split(data: bytes) -> list[bytes]:
    """The inverse of `joined`; that there is one proves it injective."""
    parts = []
    while data:
        length = int.from_bytes(data[:8], "big")
        parts.append(data[8 : 8 + length])
        data = data[8 + length :]
    return parts


@given(st.lists(st.binary(max_size=20), max_size=6))
def test_joined_parts_can_be_told_apart(parts: list[bytes]) -> None:
    assert split(joined(*parts)) == parts


def test_sha256_covers_the_joined_parts() -> None:
    assert sha256(b"ab", b"c") == hashlib.sha256(joined(b"ab", b"c")).digest()
    assert len({sha256(b"ab", b"c"), sha256(b"a", b"bc"), sha256(b"abc"), sha256(b"abc", b"")}) == 4


# --- canonical JSON ---

texts = st.text(max_size=6)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53) + 1, 2**53 - 1), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)


@given(values)
def test_canonical_json_says_the_same_value(value: Any) -> None:
    assert json.loads(canonical_json(value)) == value


def test_canonical_json_has_one_form() -> None:
    expected = '{"a":"é\\n","b":[1,null,true]}'
    assert canonical_json({"b": [1, None, True], "a": "é\n"}) == expected.encode()
    assert canonical_json({"a": 1, "b": 2}) == canonical_json({"b": 2, "a": 1})


nested: list[Any] = []
for _ in range(100_000):
    nested = [nested]


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        float("nan"),
        {"a": [0, {"b": -0.0}]},
        (1, 2.5),
        {1: "a"},
        {"a": b"bytes"},
        {"a": {1, 2}},
        2**53,
        "\ud800",
        {"\ud800": 1},
        nested,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_evidence_must_not_hold_is_refused(value: Any) -> None:
    with pytest.raises(EvidenceError, match=r"floats|canonical JSON"):
        canonical_json(value)


# --- commitments ---

PARTS = {"field": "seed", "salt": bytes(32), "identity": bytes(range(32)), "value": b"value"}


def test_a_commitment_is_the_documented_hash() -> None:
    expected = hashlib.sha256(
        joined(b"modeldeed/v1/commitment", b"seed", bytes(32), bytes(range(32)), b"value")
    ).digest()
    assert commitment(**PARTS) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"field": "seed2"},
        {"salt": bytes(31) + b"\x01"},
        {"identity": bytes(32)},
        {"value": b"valuf"},
        {"value": b""},
        {"field": "see", "value": b"dvalue"},
    ],
)
def test_a_commitment_changes_with_every_part(change: dict[str, Any]) -> None:
    assert commitment(**{**PARTS, **change}) != commitment(**PARTS)


@pytest.mark.parametrize("change", [{"salt": bytes(31)}, {"identity": bytes(33)}, {"salt": b""}])
def test_a_commitment_needs_whole_salts_and_identities(change: dict[str, Any]) -> None:
    (size,) = (len(value) for value in change.values())
    with pytest.raises(EvidenceError, match=rf"'seed'.*32 bytes.*\b{size}\b"):
        commitment(**{**PARTS, **change})


# --- the tree of RFC 6962 ---


def slow_root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + slow_root(leaves[:k]) + slow_root(leaves[k:])).digest()


@pytest.mark.parametrize("count", [*range(18), 100])
def test_the_tree_is_that_of_rfc_6962(count: int) -> None:
    leaves = [hashlib.sha256(b"\x00" + bytes([i])).digest() for i in range(count)]
    assert merkle_root(leaves) == slow_root(leaves)


def test_the_tree_knows_its_order_and_size() -> None:
    leaves = [hashlib.sha256(bytes([i])).digest() for i in range(5)]
    variants = [leaves, leaves[::-1], leaves[:4], [*leaves, leaves[-1]]]
    assert len({merkle_root(variant) for variant in variants}) == 4


# --- tensors ---


def host_state() -> dict[str, Tensor]:
    return {
        "weight": torch.arange(12, dtype=torch.float32).reshape(3, 4) / 7,
        "bf16": torch.tensor([[1.5, -2.0, 0.1]], dtype=torch.bfloat16),
        "bool": torch.tensor([True, False, True]),
        "scalar": torch.tensor(17, dtype=torch.int64),
        "empty": torch.empty(0, 3, dtype=torch.float16),
    }


def slow_tensor_root(state: dict[str, Tensor]) -> bytes:
    leaves = []
    for name in sorted(state):
        tensor = state[name]
        shape = ",".join(str(size) for size in tensor.shape)
        raw = bytes(tensor.contiguous().flatten().view(torch.uint8).tolist())
        dtype = DTYPE_NAMES[tensor.dtype]
        text = joined(b"modeldeed/v1/tensor", name.encode(), dtype.encode(), shape.encode())
        leaves.append(hashlib.sha256(b"\x00" + text + struct.pack(">Q", len(raw)) + raw).digest())
    return slow_root(leaves)


GOLDEN_ROOT = "cb8c817a5cb898a85c61d3cbe3e57a3eafa57d3ffd36b89382e943c9a1c4790c"


def test_the_tensor_root_is_the_documented_one() -> None:
    assert tensor_root(host_state()) == slow_tensor_root(host_state())
    assert tensor_root(host_state()).hex() == GOLDEN_ROOT


def test_bytes_are_little_endian_in_c_order() -> None:
    tensor = torch.tensor([[1, 2], [3, -4]], dtype=torch.int16)
    assert bytes(tensor_bytes(tensor)) == struct.pack("<4h", 1, 2, 3, -4)
    assert bytes(tensor_bytes(tensor.T)) == struct.pack("<4h", 1, 3, 2, -4)
    assert bytes(tensor_bytes(torch.tensor(0.1))) == struct.pack("<f", 0.1)


def test_the_order_of_tensors_does_not_matter() -> None:
    state = host_state()
    backwards = dict(reversed(state.items()))
    assert tensor_root(backwards) == tensor_root(state)
    assert tensor_root(iter(backwards.items())) == tensor_root(state)


def test_storage_does_not_matter() -> None:
    weight = host_state()["weight"]
    wide = torch.zeros(3, 9)
    wide[:, 1::2] = weight
    layouts = {
        "plain": weight,
        "transposed": weight.T.contiguous().T,
        "slice": wide[:, 1::2],
        "parameter": torch.nn.Parameter(weight),
        "offset": torch.cat([torch.zeros(1), weight.flatten()])[1:].reshape(3, 4),
    }
    roots = {name: tensor_root({"weight": tensor}) for name, tensor in layouts.items()}
    assert len(set(roots.values())) == 1, roots
    images = torch.arange(24.0).reshape(1, 2, 3, 4)
    last = images.to(memory_format=torch.channels_last)
    assert last.stride() != images.stride()
    assert tensor_root({"w": last}) == tensor_root({"w": images})


def test_conjugated_and_negated_views_have_the_digest_of_their_values() -> None:
    numbers = torch.complex(torch.arange(3.0), torch.arange(3.0) + 1)
    view = numbers.conj()
    assert view.is_conj()
    assert tensor_root({"z": view}) == tensor_root({"z": view.resolve_conj()})
    assert tensor_root({"z": view}) != tensor_root({"z": numbers})
    imaginary = view.imag
    assert imaginary.is_neg()
    assert tensor_root({"z": imaginary}) == tensor_root({"z": -torch.arange(1.0, 4.0)})


CHANGES: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "name": lambda s: s.update(weight2=s.pop("weight")),
    "missing": lambda s: s.pop("empty"),
    "more": lambda s: s.update(more=torch.empty(0)),
    "dtype": lambda s: s.update(weight=s["weight"].view(torch.int32)),
    "half": lambda s: s.update(empty=torch.empty(0, 3, dtype=torch.bfloat16)),
    "shape": lambda s: s.update(weight=s["weight"].reshape(4, 3)),
    "rank": lambda s: s.update(scalar=s["scalar"].reshape(1)),
    "empty shape": lambda s: s.update(empty=s["empty"].reshape(3, 0)),
    "value": lambda s: s["weight"].view(torch.int32)[2, 3].add_(1),
    "bool value": lambda s: s["bool"].logical_not_(),
    "negative zero": lambda s: s["weight"][0, 0].neg_(),
    "swapped": lambda s: s.update(weight=s["bf16"], bf16=s["weight"]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_changes_the_root(change: str) -> None:
    state = host_state()
    CHANGES[change](state)
    assert tensor_root(state).hex() != GOLDEN_ROOT


@pytest.mark.parametrize("dtype", DTYPE_NAMES, ids=str)
def test_every_dtype_in_the_format_has_a_digest(dtype: torch.dtype) -> None:
    tensor = torch.tensor([0, 1, 1]).to(dtype)
    assert tensor_root({"t": tensor}) == slow_tensor_root({"t": tensor})


def test_a_dtype_outside_the_format_is_named() -> None:
    with pytest.raises(EvidenceError, match=r"layer\.w: dtype torch\.complex128"):
        tensor_root({"layer.w": torch.zeros(2, dtype=torch.complex128)})


@pytest.mark.parametrize("size", [1, 3])
def test_two_tensors_of_one_name_are_refused(size: int) -> None:
    with pytest.raises(EvidenceError, match="every name counts once"):
        tensor_root([("w", torch.zeros(size)), ("w", torch.ones(size))])
