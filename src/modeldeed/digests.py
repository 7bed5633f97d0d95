"""Unambiguous digests of values, commitments and tensors.

Whatever is hashed is first joined with an 8-byte length before every part, so no two different
lists of parts share a preimage. The formats here are part of the evidence format: changing one
breaks every anchor and deed made before.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import rfc8785
import torch
from torch import Tensor

from modeldeed.errors import EvidenceError

__all__ = [
    "DTYPE_NAMES",
    "canonical_json",
    "commitment",
    "joined",
    "merkle_root",
    "sha256",
    "tensor_bytes",
    "tensor_root",
]

# The safetensors names, so that a second implementation needs no PyTorch.
DTYPE_NAMES: dict[torch.dtype, str] = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
    torch.complex64: "C64",
}


def joined(*parts: bytes) -> bytes:
    """Concatenate parts, each behind its length as 8 big-endian bytes.

    Example:
        >>> joined(b"ab", b"").hex()
        '000000000000000261620000000000000000'
    """
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def sha256(*parts: bytes) -> bytes:
    """SHA-256 over the `joined` parts.

    Returns:
        32 bytes.
    """
    return hashlib.sha256(joined(*parts)).digest()


def canonical_json(value: Any) -> bytes:
    """Encode a JSON value in the one form of RFC 8785.

    Args:
        value: dicts with string keys, lists, strings, integers, booleans, None. Floats are refused:
            evidence carries none.

    Returns:
        UTF-8 bytes without white space, keys sorted.

    Raises:
        EvidenceError: the value holds a float, a non-string key, text that is no Unicode, an
            integer beyond ±(2⁵³ − 1) or another type, or is nested too deeply.
    """
    try:
        _refuse_floats(value)
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise EvidenceError(f"cannot be written as canonical JSON: {error}") from error


def _refuse_floats(value: Any) -> None:
    if isinstance(value, float):
        raise EvidenceError(f"evidence holds no floats, got {value!r}; write it as an integer")
    if isinstance(value, dict):
        for item in value.values():
            _refuse_floats(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_floats(item)


def commitment(field: str, salt: bytes, identity: bytes, value: bytes) -> bytes:
    """Commit to a value, bound to a field name and to an identity.

    Without the identity inside, somebody else could copy an opaque commitment and later replay
    its opening as his own.

    Args:
        field: what is committed to, for example ``"seed"``.
        salt: 32 random or derived bytes, one salt for each commitment.
        identity: the 32 bytes of the owner's Ed25519 public key.
        value: the committed bytes.

    Returns:
        32 bytes.

    Raises:
        EvidenceError: the salt or the identity has another length.
    """
    if len(salt) != 32 or len(identity) != 32:
        raise EvidenceError(
            f"commitment {field!r}: salt and identity must be 32 bytes, "
            f"got {len(salt)} and {len(identity)}"
        )
    return sha256(b"modeldeed/v1/commitment", field.encode(), salt, identity, value)


def tensor_bytes(tensor: Tensor) -> memoryview:
    """The tensor's elements as little-endian bytes in C order.

    Args:
        tensor: any dense tensor of a dtype in `DTYPE_NAMES`, on any device.

    Returns:
        A read view; no copy for a contiguous CPU tensor.
    """
    if sys.byteorder != "little":  # pragma: no cover - no such CI machine
        raise EvidenceError("tensor digests are defined on little-endian machines only")
    # A conjugated view shares the bytes of its base until it is resolved.
    flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def _tensor_leaf(name: str, tensor: Tensor) -> bytes:
    dtype = DTYPE_NAMES.get(tensor.dtype)
    if dtype is None:
        raise EvidenceError(f"{name}: dtype {tensor.dtype} has no place in a tensor digest")
    data = tensor_bytes(tensor)
    head = joined(
        b"modeldeed/v1/tensor",
        name.encode(),
        dtype.encode(),
        ",".join(str(size) for size in tensor.shape).encode(),
    )
    digest = hashlib.sha256(b"\x00" + head + len(data).to_bytes(8, "big"))
    digest.update(data)
    return digest.digest()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf digests as in RFC 6962: the left half is the largest power of two.

    Args:
        leaves: 32-byte digests in their fixed order; already domain-separated by a zero byte.

    Returns:
        32 bytes; SHA-256 of nothing for an empty list.
    """
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    left, right = merkle_root(leaves[:split]), merkle_root(leaves[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def tensor_root(tensors: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]]) -> bytes:
    """Digest a set of named tensors, whatever file or shards they lie in.

    Args:
        tensors: names and tensors, for example a state dict; the order does not matter.

    Returns:
        32 bytes: the Merkle root over (name, dtype, shape, little-endian bytes), sorted by name.

    Raises:
        EvidenceError: a dtype without a name in the format, or two tensors of one name.

    Example:
        >>> tensor_root({"a": torch.zeros(2)}) == tensor_root({"a": torch.zeros(1, 2)[0]})
        True
    """
    items = list(tensors.items() if isinstance(tensors, Mapping) else tensors)
    named = dict(items)
    if len(named) != len(items):
        raise EvidenceError(
            f"{len(items)} tensors share {len(named)} names; every name counts once"
        )
    return merkle_root([_tensor_leaf(name, named[name]) for name in sorted(named)])
