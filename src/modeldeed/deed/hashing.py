"""Digests of a model's files and of its tensors, all at once over the same mapped bytes.

A file is hashed three times: by SHA-256, by a second algorithm, and tensor by tensor. Each runs in
a thread of its own, since the hash functions release the interpreter's lock.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import mmap
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modeldeed.deed.statement import FileDigests
from modeldeed.digests import DTYPE_NAMES, joined, merkle_root
from modeldeed.errors import EvidenceError, SuspectError
from modeldeed.suspects import open_weights
from modeldeed.suspects.shards import INDEX_SUFFIX, find_checkpoint

__all__ = ["ModelDigests", "digest_model", "model_files", "second_algorithm"]

_DTYPES = frozenset(DTYPE_NAMES.values())
# Fewer would leave a core idle beside a file of one large tensor, however few cores there are.
_LEAST_THREADS = 4

_Hash = Callable[[Any], str]


@dataclass(frozen=True)
class ModelDigests:
    """What identifies a model's files.

    Attributes:
        files: two digests of each file, by its name in the model's folder.
        tensor_root: of all tensors in all files, hexadecimal.
    """

    files: dict[str, FileDigests]
    tensor_root: str


def model_files(model: str | Path) -> tuple[Path, ...]:
    """The files of a model: one safetensors file, or an index and the files that it names.

    Args:
        model: a file, an index, or a folder with a checkpoint.

    Raises:
        SuspectError: a file is missing, a pickle, or no safetensors file; an index is malformed.
    """
    path = Path(model)
    path = find_checkpoint(path) if path.is_dir() else path
    open_weights(path)
    if not path.name.endswith(INDEX_SUFFIX):
        return (path,)
    names = set(json.loads(path.read_bytes())["weight_map"].values())
    return tuple(sorted([path, *(path.parent / name for name in names)]))


def digest_model(model: str | Path, *, second: str | None = None) -> ModelDigests:
    """Hash a model's files and tensors.

    Args:
        model: a safetensors file, or a checkpoint's index or folder.
        second: the second algorithm, ``"blake3"`` or ``"sha512"``; None takes BLAKE3 where the
            optional package is installed, which is several times faster.

    Returns:
        Digests by file, and the tensor root.

    Raises:
        SuspectError: a file cannot be read, or changed meanwhile.
        EvidenceError: a tensor of a dtype without a name in the format.
    """
    files = model_files(model)
    weights = open_weights(files[0] if len(files) == 1 else _index_of(files))
    algorithm = second or second_algorithm()
    found: dict[str, FileDigests] = {}
    leaves: dict[str, bytes] = {}
    threads = max(_LEAST_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(files), threads):
            _digest_some(pool, files[start : start + threads], algorithm, found, leaves)
    if set(leaves) != set(weights.names()):
        raise SuspectError(f"{model}: its files name other tensors than were read from them")
    weights.require_unchanged()
    root = merkle_root([leaves[name] for name in sorted(leaves)])
    return ModelDigests(found, root.hex())


def _digest_some(
    pool: ThreadPoolExecutor,
    files: Sequence[Path],
    algorithm: str,
    found: dict[str, FileDigests],
    leaves: dict[str, bytes],
) -> None:
    started: list[tuple[str, Future[str], Future[str], dict[str, Future[bytes]]]] = []
    for path in files:
        data = _mapped(path)
        whole = pool.submit(_sha256, data)
        parts = {} if path.name.endswith(INDEX_SUFFIX) else _leaves(pool, path, data)
        started.append((path.name, whole, pool.submit(_hash_named(algorithm), data), parts))
    for name, whole, other, parts in started:
        found[name] = _two(whole.result(), algorithm, other.result())
        leaves.update({tensor: leaf.result() for tensor, leaf in parts.items()})


def _leaves(pool: ThreadPoolExecutor, path: Path, data: memoryview) -> dict[str, Future[bytes]]:
    start = 8 + int.from_bytes(data[:8], "little")
    try:
        header = json.loads(bytes(data[8:start]), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise SuspectError(f"{path}: its header cannot be read ({error})") from error
    header.pop("__metadata__", None)
    tasks = {}
    for name, entry in header.items():
        if entry["dtype"] not in _DTYPES:
            raise EvidenceError(f"{name}: dtype {entry['dtype']} has no place in a tensor digest")
        begin, end = (start + offset for offset in entry["data_offsets"])
        tasks[name] = pool.submit(_leaf, name, entry, data[begin:end])
    return tasks


def _leaf(name: str, entry: dict[str, Any], data: memoryview) -> bytes:
    """As in `modeldeed.digests.tensor_root`, from the bytes as they lie in the file."""
    shape = ",".join(str(size) for size in entry["shape"])
    head = joined(b"modeldeed/v1/tensor", name.encode(), entry["dtype"].encode(), shape.encode())
    digest = hashlib.sha256(b"\x00" + head + len(data).to_bytes(8, "big"))
    digest.update(data)
    return digest.digest()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a name stands twice")
    return fields


def _mapped(path: Path) -> memoryview:
    """A file's bytes; they stay mapped as long as somebody looks at them."""
    try:
        with path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:  # an empty file cannot be mapped
        raise SuspectError(f"{path} cannot be read: {error}") from error


def _sha256(data: memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


def _sha512(data: memoryview) -> str:
    return hashlib.sha512(data).hexdigest()


def _hash_named(algorithm: str) -> _Hash:
    if algorithm == "sha512":
        return _sha512
    try:
        blake3: Any = importlib.import_module("blake3")
    except ImportError as error:
        raise SuspectError(
            "these digests are of BLAKE3, which is not installed: pip install blake3"
        ) from error

    def hashed(data: memoryview) -> str:
        return str(blake3.blake3(data).hexdigest())

    return hashed


def second_algorithm() -> str:
    """The algorithm beside SHA-256: BLAKE3 where it is installed, otherwise SHA-512."""
    return "blake3" if importlib.util.find_spec("blake3") else "sha512"


def _two(sha256: str, algorithm: str, second: str) -> FileDigests:
    return FileDigests.model_validate({"sha256": sha256, algorithm: second})


def _index_of(files: Sequence[Path]) -> Path:
    return next(path for path in files if path.name.endswith(INDEX_SUFFIX))
