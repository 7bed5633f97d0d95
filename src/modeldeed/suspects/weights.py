"""A suspect's weights: named tensors from a safetensors file or from memory, one at a time.

Nothing is executed and nothing is unpickled: a suspect comes from somebody who may want to harm
the one who examines it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from modeldeed.digests import tensor_root
from modeldeed.errors import EvidenceError, SuspectError

__all__ = ["Weights", "open_weights", "require_tensors"]

_BLOCK = 2**20


class Weights(Protocol):
    """Named tensors of a suspect.

    Attributes:
        label: how reports call the suspect.
    """

    label: str

    def names(self) -> list[str]:
        """All tensor names."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, without reading its data."""
        ...

    def tensor(self, name: str) -> Tensor:
        """One tensor on the CPU."""
        ...

    def digest(self) -> str:
        """SHA-256 of the file, or the tensor root of tensors in memory, hexadecimal."""
        ...


class _File:
    """A safetensors file; tensors are read when asked for."""

    def __init__(self, path: Path) -> None:
        self.label = str(path)
        self._path = path
        _refuse_pickle(path)
        try:
            self._handle: Any = safe_open(str(path), framework="pt", device="cpu")
        except (SafetensorError, OSError, ValueError) as error:
            raise SuspectError(
                f"{path} is not a readable safetensors file ({error}); write one with "
                "safetensors.torch.save_file(model.state_dict(), ...)"
            ) from error

    def names(self) -> list[str]:
        return list(self._handle.keys())

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._handle.get_slice(name).get_shape())

    def tensor(self, name: str) -> Tensor:
        try:
            tensor: Tensor = self._handle.get_tensor(name)
        except (SafetensorError, KeyError, ValueError, RuntimeError, AttributeError) as error:
            raise SuspectError(f"{self.label}: {name} cannot be read: {error!r}") from error
        return tensor

    def digest(self) -> str:
        digest = hashlib.sha256()
        with self._path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest()


class _Memory:
    """A state dict."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.label = "tensors in memory"
        self._tensors = {name: t for name, t in tensors.items() if isinstance(t, Tensor)}

    def names(self) -> list[str]:
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._tensors[name].shape)

    def tensor(self, name: str) -> Tensor:
        return self._tensors[name].detach().cpu()

    def digest(self) -> str:
        try:
            return tensor_root(self._tensors).hex()
        except (EvidenceError, RuntimeError, NotImplementedError) as error:
            raise SuspectError(f"{self.label} have no digest: {error}") from error


def open_weights(suspect: str | Path | Mapping[str, Tensor] | nn.Module) -> Weights:
    """Open a suspect's weights.

    Args:
        suspect: a safetensors file, a state dict, or a module.

    Returns:
        Named tensors, read on demand.

    Raises:
        SuspectError: the file is missing, a pickle, or no safetensors file.
    """
    if isinstance(suspect, nn.Module):
        return _Memory(suspect.state_dict())
    if isinstance(suspect, Mapping):
        return _Memory(suspect)
    return _File(Path(suspect))


def require_tensors(weights: Weights, expected: Sequence[tuple[str, tuple[int, ...]]]) -> None:
    """Refuse a suspect that lacks tensors or has them in another shape.

    Args:
        weights: the suspect.
        expected: names and shapes. A name may stand twice; every shape is checked.

    Raises:
        SuspectError: says how many are missing or misshapen, names some, and similar ones.
    """
    names = weights.names()
    known = set(names)
    wanted = dict.fromkeys(name for name, _ in expected)
    missing = [name for name in wanted if name not in known]
    if missing:
        similar = get_close_matches(missing[0], names, n=3, cutoff=0.3)
        raise SuspectError(
            f"{weights.label} lacks {len(missing)} of {len(wanted)} tensors of the claim, "
            f"for example {missing[0]}"
            + (f"; it has similar names: {', '.join(similar)}" if similar else "")
            + ". If its modules were renamed, rename them back before reading"
        )
    for name, shape in expected:
        if weights.shape(name) != tuple(shape):
            raise SuspectError(
                f"{weights.label}: {name} has shape {weights.shape(name)}, the claim expects "
                f"{tuple(shape)}: its architecture differs from the marked model's"
            )


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
