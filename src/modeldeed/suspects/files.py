"""One safetensors file: its tensors are mapped into memory and read when asked for."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from modeldeed.errors import SuspectError

__all__ = ["TensorFile"]

_BLOCK = 2**20


class TensorFile:
    """A safetensors file.

    Args:
        path: a regular file.

    Raises:
        SuspectError: it is missing, a pickle, or no safetensors file.
    """

    def __init__(self, path: Path) -> None:
        self.label = str(path)
        self._path = path
        _refuse_pickle(path)
        self._identity = _identity(path.stat())
        try:
            self._handle: Any = safe_open(str(path), framework="pt", device="cpu")
        except (SafetensorError, OSError, ValueError) as error:
            raise SuspectError(
                f"{path} is not a readable safetensors file ({error}); write one with "
                "safetensors.torch.save_file(model.state_dict(), ...)"
            ) from error

    def names(self) -> list[str]:
        """All tensor names."""
        return list(self._handle.keys())

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, without reading its data."""
        return tuple(self._handle.get_slice(name).get_shape())

    def tensor(self, name: str) -> Tensor:
        """One tensor, its data still in the file: nothing is read before it is used."""
        try:
            tensor: Tensor = self._handle.get_tensor(name)
        except (SafetensorError, KeyError, ValueError, RuntimeError, AttributeError) as error:
            raise SuspectError(f"{self.label}: {name} cannot be read: {error!r}") from error
        return tensor

    def digest(self) -> str:
        """SHA-256 of the file, hexadecimal.

        Raises:
            SuspectError: the file is another one than was opened, or changed since.
        """
        digest = hashlib.sha256()
        block = memoryview(bytearray(_BLOCK))
        try:
            with self._path.open("rb", buffering=0) as file:
                self._require_same(os.fstat(file.fileno()))
                while count := file.readinto(block):
                    digest.update(block[:count])
        except OSError as error:
            raise SuspectError(f"{self.label} cannot be read: {error.strerror}") from error
        self.require_unchanged()
        return digest.hexdigest()

    def require_unchanged(self) -> None:
        """Refuse a file that was exchanged or written to since it was opened.

        Raises:
            SuspectError: it was, so what was read and what was digested could differ.
        """
        try:
            self._require_same(self._path.stat())
        except OSError as error:
            raise SuspectError(f"{self.label} cannot be read: {error.strerror}") from error

    def _require_same(self, status: os.stat_result) -> None:
        if _identity(status) != self._identity:
            raise SuspectError(
                f"{self.label} changed while it was examined; take a copy that nobody writes to"
            )


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _refuse_pickle(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise SuspectError(f"{path} is no regular file")  # a pipe would be waited for, for ever
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise SuspectError(f"{path} cannot be read: {error.strerror}") from error
    # A safetensors file starts with its header's length, whose first byte may be anything.
    if start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        return
    # A zip archive is what torch.save writes; byte 0x80 starts a bare pickle.
    if start.startswith((b"PK\x03\x04", b"\x80")):
        raise SuspectError(
            f"{path} is a pickle, which runs code when it is opened, so it is not; have it "
            "converted by its holder with safetensors.torch.save_file(model.state_dict(), ...)"
        )
