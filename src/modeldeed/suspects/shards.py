"""A checkpoint in several safetensors files beside an index, as Hugging Face's libraries write it.

The index is JSON with a ``weight_map`` from tensor names to file names. It comes from whoever made
the suspect, so it may name nothing but plain files of its own folder, and it and the files must
say the same: each tensor lies in one file, the one that the index names.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modeldeed.digests import joined
from modeldeed.errors import SuspectError
from modeldeed.suspects.files import TensorFile

__all__ = ["INDEX_SUFFIX", "ShardedFiles", "find_checkpoint"]

INDEX_SUFFIX = ".safetensors.index.json"
_INDEX = f"model{INDEX_SUFFIX}"
_SINGLE = "model.safetensors"
_MOST_INDEX_BYTES = 64 * 2**20
_MOST_SHARDS = 10_000


def find_checkpoint(folder: Path) -> Path:
    """The file of a folder that a checkpoint is opened by.

    Args:
        folder: an existing folder.

    Returns:
        ``model.safetensors.index.json``, or ``model.safetensors``.

    Raises:
        SuspectError: there is neither, or both.
    """
    found = [folder / name for name in (_INDEX, _SINGLE) if (folder / name).exists()]
    if len(found) == 2:
        raise SuspectError(
            f"{folder} holds both {_INDEX} and {_SINGLE}; name the one that is the suspect"
        )
    if not found:
        raise SuspectError(
            f"{folder} is no regular file, and no folder with {_INDEX} or {_SINGLE}; name the "
            "suspect's file"
        )
    return found[0]


class ShardedFiles:
    """The tensors of all files that an index names.

    Args:
        index: a file ``*.safetensors.index.json``.

    Raises:
        SuspectError: the index is malformed, leads out of its folder, or disagrees with a file;
            a file is missing or unreadable.
    """

    def __init__(self, index: Path) -> None:
        self.label = str(index)
        self._index, self._bytes = index, _read_index(index)
        self._files_by_tensor = _weight_map(index, self._bytes)
        names = sorted(set(self._files_by_tensor.values()))
        if len(names) > _MOST_SHARDS:
            raise SuspectError(f"{index} names {len(names)} files; {_MOST_SHARDS} are the most")
        self._files = {name: TensorFile(_inside(index, name)) for name in names}
        for name, file in self._files.items():
            self._require_agreement(name, file)

    def _require_agreement(self, name: str, file: TensorFile) -> None:
        listed = {t for t, where in self._files_by_tensor.items() if where == name}
        held = set(file.names())
        for tensor in sorted(held - listed)[:1]:
            elsewhere = self._files_by_tensor.get(tensor)
            raise SuspectError(
                f"{self._index}: {name} holds {tensor}, which the index "
                + (f"says is in {elsewhere}" if elsewhere else "does not list")
                + "; a tensor lies in one file, the one that the index names"
            )
        for tensor in sorted(listed - held)[:1]:
            raise SuspectError(f"{self._index}: {name} lacks {tensor}, which the index says it has")

    def names(self) -> list[str]:
        """All tensor names."""
        return list(self._files_by_tensor)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, without reading its data."""
        return self._files[self._files_by_tensor[name]].shape(name)

    def tensor(self, name: str) -> Tensor:
        """One tensor, its data still in its file."""
        return self._files[self._files_by_tensor[name]].tensor(name)

    def digest(self) -> str:
        """SHA-256 over the digests of index and files; see the evidence format.

        Raises:
            SuspectError: a file is another one than was opened, or changed since.
        """
        with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
            digests = list(pool.map(TensorFile.digest, self._files.values()))
        parts = [b"modeldeed/v1/sharded", hashlib.sha256(self._bytes).digest()]
        for name, digest in zip(self._files, digests, strict=True):
            parts += [name.encode(), bytes.fromhex(digest)]
        self.require_unchanged()
        return hashlib.sha256(joined(*parts)).hexdigest()

    def require_unchanged(self) -> None:
        """Refuse a checkpoint of which a file was exchanged or written to since it was opened.

        Raises:
            SuspectError: one was.
        """
        for file in self._files.values():
            file.require_unchanged()
        if _read_index(self._index) != self._bytes:
            raise SuspectError(
                f"{self._index} changed while it was examined; take a copy that nobody writes to"
            )


def _read_index(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        raise SuspectError(f"{path} is no regular file")
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_INDEX_BYTES + 1)
    except OSError as error:
        raise SuspectError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > _MOST_INDEX_BYTES:
        raise SuspectError(f"{path} is larger than {_MOST_INDEX_BYTES} bytes, too large an index")
    return data


def _weight_map(path: Path, data: bytes) -> dict[str, str]:
    try:
        index = json.loads(data, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise SuspectError(f"{path} is no readable index ({error})") from error
    found = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(found, dict) or not found:
        raise SuspectError(f"{path} has no weight_map from tensor names to file names")
    for tensor, name in found.items():
        if not isinstance(name, str):
            raise SuspectError(f"{path}: the file of {tensor} is {name!r}, not a name")
    return found


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        (repeated, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"{repeated!r} stands twice")
    return fields


def _inside(index: Path, name: str) -> Path:
    """The path of a shard, which has to be a plain file of the index's folder."""
    if not name.isprintable() or name in ("", ".", "..") or set(name) & set("/\\:"):
        raise SuspectError(f"{index}: {name!r} is no plain file name in the index's folder")
    path = index.parent / name
    try:
        stays = path.resolve().parent == index.parent.resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise SuspectError(f"{index}: {name!r} cannot be followed ({error})") from error
    if not stays:
        raise SuspectError(
            f"{index}: {name} is a link out of the folder; copy the checkpoint with its links "
            "followed (cp -rL) and examine the copy"
        )
    if not path.exists():
        raise SuspectError(f"{index}: {name} is missing; the checkpoint is incomplete")
    return path
