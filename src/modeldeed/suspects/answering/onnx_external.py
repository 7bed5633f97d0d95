"""Which other files an ONNX file takes tensors from, without any ONNX library.

ONNX Runtime refuses paths out of the model's folder in its recent versions only, and a suspect
comes from a stranger. The few fields that matter are found by walking the protobuf encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modeldeed.errors import SuspectError

__all__ = ["checked_files", "external_locations"]

_MOST_BYTES = 2 * 2**30  # what protobuf can hold
_MOST_EXTERNAL_BYTES = 64 * 2**30

_MOST_DEPTH = 64

# Field numbers of onnx.proto that lead to tensors: message -> field -> message.
_CHILDREN = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Entry"},
}


def checked_files(path: Path) -> list[str]:
    """An ONNX file's own name and those of the files beside it, all within its folder.

    Raises:
        SuspectError: a file is missing, too large, malformed, or leads out of its folder.
    """
    if not path.is_file():
        raise SuspectError(f"{path} is no regular file")
    size = path.stat().st_size
    if not 0 < size <= _MOST_BYTES:
        raise SuspectError(f"{path} has {size} bytes; an ONNX file has 1 … {_MOST_BYTES}")
    names = external_locations(memoryview(path.read_bytes()), str(path))
    folder = path.parent.resolve()
    for name in names:
        _require_inside(path, folder, name)
    total = sum((path.parent / name).stat().st_size for name in names)
    if total > _MOST_EXTERNAL_BYTES:
        raise SuspectError(f"{path} takes tensors from {total} bytes of other files, too many")
    return [path.name, *names]


def _require_inside(path: Path, folder: Path, name: str) -> None:
    try:
        target = (path.parent / name).resolve()
        inside = target.is_relative_to(folder) and target.is_file()
    except (OSError, ValueError, RuntimeError) as error:
        raise SuspectError(f"{path}: its tensors' file {name!r} cannot be followed") from error
    if not name.isprintable() or Path(name).is_absolute() or not inside:
        raise SuspectError(
            f"{path} takes tensors from {name!r}, which is no file in its own folder; examine a "
            "complete copy of the model in a folder of its own"
        )


def external_locations(data: memoryview, label: str) -> list[str]:
    """The locations that tensors of a model name.

    Args:
        data: the model, ``ModelProto`` as it is stored.
        label: how the error calls it.

    Returns:
        Paths as written in the file, sorted, each once.

    Raises:
        SuspectError: the bytes are no protobuf message.
    """
    try:
        return sorted(set(_locations(data, "Model", 0)))
    except (ValueError, IndexError) as error:
        raise SuspectError(f"{label} is no readable ONNX model ({error})") from error


def _locations(data: memoryview, message: str, depth: int) -> Iterator[str]:
    if depth > _MOST_DEPTH:
        raise ValueError("nested too deeply")
    if message == "Entry":
        entry = {field.number: field.content or b"" for field in _fields(data)}
        if bytes(entry.get(1, b"")) == b"location":
            yield bytes(entry.get(2, b"")).decode("utf-8")
        return
    children = _CHILDREN[message]
    for field in _fields(data):
        if field.number in children and field.content is not None:
            yield from _locations(field.content, children[field.number], depth + 1)


@dataclass(frozen=True)
class _Field:
    number: int
    content: memoryview | None


def _fields(data: memoryview) -> Iterator[_Field]:
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        wire = tag & 7
        content = None
        if wire == 0:
            _, place = _varint(data, place)
        elif wire in (1, 5):
            place += 8 if wire == 1 else 4
        elif wire == 2:
            length, place = _varint(data, place)
            content, place = data[place : place + length], place + length
        else:
            raise ValueError(f"unknown wire type {wire}")
        if place > len(data):
            raise ValueError("cut off")
        yield _Field(tag >> 3, content)


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for step in range(10):
        byte = data[place + step]
        value |= (byte & 0x7F) << 7 * step
        if byte < 0x80:
            return value, place + step + 1
    raise ValueError("a number is too long")
