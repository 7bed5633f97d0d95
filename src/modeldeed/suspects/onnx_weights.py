"""An ONNX file's weights: its initializers, by the names that the file gives them.

Nothing of the file is run. It and the files beside it are read once: what is digested is what is
read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modeldeed.data._extras import import_extra
from modeldeed.digests import canonical_json
from modeldeed.errors import SuspectError
from modeldeed.suspects.answering.onnx_external import checked_files
from modeldeed.suspects.answering.onnx_file import onnx_description
from modeldeed.suspects.answering.preparation import Preparation
from modeldeed.suspects.onnx_functions import inlined, inner_graphs

__all__ = ["OnnxWeights", "is_onnx", "parsed", "values_of"]

_MOST_BYTES = 2 * 2**30  # of all files together: they are held in memory


def is_onnx(path: str | Path) -> bool:
    """Tell by its name whether a file is an ONNX file.

    Example:
        >>> [is_onnx(name) for name in ("model.ONNX", "model.safetensors")]
        [True, False]
    """
    return Path(path).name.lower().endswith(".onnx")


class OnnxWeights:
    """The initializers of an ONNX file; itself `modeldeed.suspects.Weights`.

    Args:
        path: the file; tensors stored beside it must lie in its folder.

    Attributes:
        label: how reports call it.
        proto: the model, an ``onnx.ModelProto`` with all its tensors inside.

    Raises:
        SuspectError: a file is missing, too large, malformed, or leads out of its folder.
        MissingExtraError: onnx is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.label = str(path)
        names = checked_files(path)
        total = sum((path.parent / name).stat().st_size for name in names)
        if total > _MOST_BYTES:
            raise SuspectError(
                f"{path} and the files beside it have {total} bytes; the weights of at most "
                f"{_MOST_BYTES} are read. It can still be asked"
            )
        contents = {name: _content(path.parent / name) for name in names}
        self._digests = [hashlib.sha256(contents[name]).hexdigest() for name in names]
        self.proto = parsed(contents.pop(path.name), self.label)
        _take_in(self.proto, contents, self.label)
        # Of several of one name none is known to be the one that is meant.
        found = {tensor.name: tensor for tensor in self.proto.graph.initializer}
        self._tensors: dict[str, Any] = found
        if len(found) < len(self.proto.graph.initializer):
            raise SuspectError(f"{self.label} has several initializers of one name")

    def names(self) -> list[str]:
        """All names of initializers."""
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of an initializer."""
        return tuple(self._tensors[name].dims)

    def tensor(self, name: str) -> Tensor:
        """One initializer.

        Raises:
            SuspectError: its data are not those of its shape and type, or of an unknown type.
        """
        return values_of(self._tensors[name], self.label)

    def digest(self) -> str:
        """What names the file as a suspect that is asked, too, hexadecimal."""
        description = onnx_description(self._digests, Preparation())
        return hashlib.sha256(canonical_json(description)).hexdigest()

    def require_unchanged(self) -> None:
        """Nothing can change: all was read at once."""


def parsed(data: bytes, label: str) -> Any:
    """An ONNX model from its bytes, its local functions written out.

    Args:
        data: the file.
        label: how errors call it.

    Returns:
        An ``onnx.ModelProto``.

    Raises:
        SuspectError: it is none.
        MissingExtraError: onnx is not installed.
    """
    onnx: Any = import_extra("onnx", "onnx", "onnx")
    decoding: Any = import_extra("google.protobuf.message", "onnx", "onnx")
    try:
        return inlined(onnx.load_model_from_string(data), label)
    except SuspectError:
        raise
    except (decoding.DecodeError, ValueError, RuntimeError, TypeError) as error:
        raise SuspectError(f"{label} is no readable ONNX model ({type(error).__name__})") from error


def values_of(tensor: Any, label: str) -> Tensor:
    """A ``TensorProto`` whose data it holds itself.

    Args:
        tensor: an initializer or a constant.
        label: how the error calls the file.

    Returns:
        On the CPU; bfloat16 and 8-bit floats as float32.

    Raises:
        SuspectError: its data are not those of its shape and type, or of an unknown type.
    """
    onnx: Any = import_extra("onnx", "onnx", "onnx")
    name = tensor.name if tensor.name.isprintable() else ascii(tensor.name)
    try:
        array = np.array(onnx.numpy_helper.to_array(tensor))
        if array.dtype.kind == "V" or array.dtype.name.startswith(("bfloat", "float8")):
            array = array.astype(np.float32)
        return torch.from_numpy(array)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, IndexError) as error:
        raise SuspectError(f"{label}: {name[:200]} cannot be read: {error!r}") from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SuspectError(f"{path} cannot be read: {error.strerror}") from error


def _take_in(model: Any, contents: Mapping[str, bytes], label: str) -> None:
    """Put tensors that are stored beside the file into the model."""
    onnx: Any = import_extra("onnx", "onnx", "onnx")
    held = 0
    for tensor in _tensors(model.graph):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        data = contents.get(entries.get("location", ""))
        first = _number(entries.get("offset", "0"))
        length = _number(entries.get("length", str(len(data or b"") - (first or 0))))
        if data is None or first is None or length is None or first + length > len(data):
            raise SuspectError(f"{label}: a tensor's place in the file beside it does not exist")
        held += length
        if held > _MOST_BYTES:  # many tensors can name the same bytes
            raise SuspectError(f"{label}: its tensors have more than {_MOST_BYTES} bytes together")
        tensor.raw_data = data[first : first + length]
        tensor.ClearField("external_data")
        tensor.data_location = onnx.TensorProto.DEFAULT


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _tensors(graph: Any) -> Iterator[Any]:
    """All tensors of a graph: initializers and attributes, of graphs within as well."""
    yield from graph.initializer
    yield from _parts(graph.sparse_initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("sparse_tensor"):
                yield from _parts([attribute.sparse_tensor])
            yield from attribute.tensors
            yield from _parts(attribute.sparse_tensors)
            for inner in inner_graphs(attribute):
                yield from _tensors(inner)


def _parts(sparse: Iterable[Any]) -> Iterator[Any]:
    for tensor in sparse:
        yield from (tensor.values, tensor.indices)
