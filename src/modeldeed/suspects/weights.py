"""A suspect's weights: named tensors from a safetensors file or from memory, one at a time.

Nothing is executed and nothing is unpickled: a suspect comes from somebody who may want to harm
the one who examines it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from modeldeed.digests import tensor_root
from modeldeed.errors import EvidenceError, SuspectError
from modeldeed.suspects.files import TensorFile
from modeldeed.suspects.shards import INDEX_SUFFIX, ShardedFiles, find_checkpoint

__all__ = ["Weights", "lacking", "open_weights", "require_tensors"]

# Looking for similar names takes time in proportion to both; a suspect may have millions.
_MOST_COMPARED = 2_000
_LONGEST_COMPARED = 200


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
        """SHA-256 of the file or files, or the tensor root of tensors in memory, hexadecimal."""
        ...

    def require_unchanged(self) -> None:
        """Refuse files that changed since they were opened.

        Raises:
            SuspectError: they did, so what was read and what was digested could differ.
        """
        ...


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

    def require_unchanged(self) -> None:
        pass  # the caller's own tensors


def open_weights(suspect: str | Path | Mapping[str, Tensor] | nn.Module) -> Weights:
    """Open a suspect's weights.

    Args:
        suspect: a safetensors file; a checkpoint of several, by its index or by the folder that
            holds it; an ONNX file, whose initializers are read; a state dict; or a module.

    Returns:
        Named tensors, read on demand.

    Raises:
        SuspectError: a file is missing, a pickle, or no safetensors file; an index or an ONNX file
            is malformed or leads out of its folder.
        MissingExtraError: it is an ONNX file, and onnx is not installed.
    """
    if isinstance(suspect, nn.Module):
        return _Memory(suspect.state_dict())
    if isinstance(suspect, Mapping):
        return _Memory(suspect)
    path = Path(suspect)
    if path.is_dir():
        path = find_checkpoint(path)
    if path.name.lower().endswith(".onnx"):
        from modeldeed.suspects.onnx_weights import OnnxWeights  # noqa: PLC0415 - seldom needed

        return OnnxWeights(path)
    return ShardedFiles(path) if path.name.endswith(INDEX_SUFFIX) else TensorFile(path)


def require_tensors(weights: Weights, expected: Sequence[tuple[str, tuple[int, ...]]]) -> None:
    """Refuse a suspect that lacks tensors or has them in another shape.

    Args:
        weights: the suspect.
        expected: names and shapes. A name may stand twice; every shape is checked.

    Raises:
        SuspectError: says how many are missing or misshapen, names some, and similar ones.
    """
    known = set(weights.names())
    wanted = dict.fromkeys(name for name, _ in expected)
    missing = [name for name in wanted if name not in known]
    if missing:
        raise lacking(weights, missing, len(wanted))
    for name, shape in expected:
        if weights.shape(name) != tuple(shape):
            raise SuspectError(
                f"{weights.label}: {name} has shape {weights.shape(name)}, the claim expects "
                f"{tuple(shape)}: its architecture differs from the marked model's"
            )


def lacking(weights: Weights, missing: Sequence[str], wanted: int) -> SuspectError:
    """Say which tensors a suspect lacks, and name similar ones.

    Args:
        weights: the suspect.
        missing: at least one name of the claim.
        wanted: how many the claim asks for.

    Returns:
        The error, to be raised.
    """
    names = [n for n in weights.names()[:_MOST_COMPARED] if len(n) <= _LONGEST_COMPARED]
    similar = get_close_matches(missing[0][:_LONGEST_COMPARED], names, n=3, cutoff=0.3)
    return SuspectError(
        f"{weights.label} lacks {len(missing)} of {wanted} tensors of the claim, "
        f"for example {missing[0]}"
        + (f"; it has similar names: {', '.join(similar)}" if similar else "")
        + ". If its modules were renamed, rename them back before reading"
    )
