"""An ONNX file as a suspect, run by ONNX Runtime on the CPU."""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import JsonValue
from torch import Tensor

from modeldeed.errors import MissingExtraError, SuspectError
from modeldeed.suspects.answering.batches import groups, kind_of
from modeldeed.suspects.answering.local import cut, padded
from modeldeed.suspects.answering.onnx_external import checked_files
from modeldeed.suspects.answering.outputs import answers_of
from modeldeed.suspects.answering.preparation import Inputs, Preparation, Prepare, described
from modeldeed.suspects.answering.suspect import Answers, Suspect, joined_answers

__all__ = ["OnnxSuspect", "brief", "onnx_description", "runtime_errors"]

_BLOCK = 2**20
_MOST_SHOWN = 600

_DTYPES: dict[str, torch.dtype] = {
    "tensor(float)": torch.float32,
    "tensor(double)": torch.float64,
    "tensor(float16)": torch.float16,
    "tensor(uint8)": torch.uint8,
    "tensor(int16)": torch.int16,
    "tensor(int32)": torch.int32,
    "tensor(int64)": torch.int64,
}


class OnnxSuspect(Suspect):
    """An ONNX file.

    Name, shape and type of the input come from the file. An input of 8-bit (images) or 16-bit
    integers (points, audio) is fed the canonical numbers themselves. A file made for a fixed
    number of samples is fed that many, filled up with repetitions whose answers are dropped.

    Args:
        path: the file; tensors stored beside it must lie in its folder.
        prepare: how samples become its input.
        group_size: the most samples in one run where the file takes any number.

    Raises:
        SuspectError: the file is missing, too large, malformed, of an unknown operator set, reads
            files out of its folder, or takes more than one input.
        MissingExtraError: ONNX Runtime is not installed.
    """

    def __init__(self, path: Path, *, prepare: Prepare, group_size: int = 64) -> None:
        self._path = path
        self._files = checked_files(path)
        self._prepare = prepare
        self._digests = [(name, _digest(path.parent / name)) for name in self._files]
        self._session = _session(path)
        self._inputs = {entry.name: entry for entry in self._session.get_inputs()}
        self._shape = _input_shape(path, self._inputs)
        fixed = self._shape[0] if self._shape else None
        self._fixed: int | None = fixed if isinstance(fixed, int) and fixed > 0 else None
        super().__init__(str(path), self._fixed or group_size)

    def description(self) -> dict[str, JsonValue]:
        """SHA-256 of the file and of the files it takes tensors from, and the preparation."""
        return onnx_description([digest for _, digest in self._digests], self._prepare)

    def _answers(self, batch: Tensor) -> Answers:
        parts = []
        for group in groups(batch, self.group_size):
            self.queries += len(group)
            self.attempts += len(group)
            parts.append(self._group_answers(group))
        return joined_answers(parts, self.label)

    def _group_answers(self, group: Tensor) -> Answers:
        inputs = self._prepared(group)
        size = self._fixed or len(group)
        outputs = self._run(padded(inputs, size))
        return cut(answers_of(_best_output(outputs), size, self.label), len(group))

    def _prepared(self, group: Tensor) -> Inputs:
        first = next(iter(self._inputs.values()))
        dtype = self._dtype(first)
        if dtype == group.dtype and kind_of(group) != "tokens":
            images = isinstance(self._prepare, Preparation) and group.dtype == torch.uint8
            return self._prepare.laid_out(group) if images else group  # type: ignore[attr-defined]
        return self._prepare(group)

    def _run(self, inputs: Inputs) -> list[Any]:
        if isinstance(inputs, dict):
            fed = {name: inputs[name] for name in self._inputs if name in inputs}
        else:
            fed = {next(iter(self._inputs)): inputs}
        if set(fed) != set(self._inputs):
            raise SuspectError(
                f"{self.label} takes {', '.join(self._inputs)}, the preparation gives "
                f"{', '.join(fed) or 'none of them'}; tokens with a mask need "
                "prepare=Preparation(tokens='mapping')"
            )
        arrays = {
            name: np.ascontiguousarray(t.to(self._dtype(self._inputs[name])).numpy())
            for name, t in fed.items()
        }
        for name, array in arrays.items():
            self._require_shape(name, array.shape)
        try:
            found: list[Any] = self._session.run(None, arrays)
        except runtime_errors() as error:
            raise SuspectError(f"{self.label} failed: {brief(error)}") from error
        return found

    def _dtype(self, entry: Any) -> torch.dtype:
        dtype = _DTYPES.get(entry.type)
        if dtype is None:
            raise SuspectError(f"{self.label}: its input {entry.name} is a {entry.type}")
        return dtype

    def _require_shape(self, name: str, shape: tuple[int, ...]) -> None:
        wanted = self._inputs[name].shape
        fits = len(wanted) == len(shape) and all(
            not isinstance(want, int) or want <= 0 or want == got
            for want, got in zip(wanted, shape, strict=True)
        )
        if not fits:
            raise SuspectError(
                f"{self.label}: its input {name} has shape {_shown(wanted)}, got {shape}; for "
                "another layout give prepare=Preparation(images='NHWC') or the like"
            )


def onnx_description(files: list[str], prepare: Prepare) -> dict[str, JsonValue]:
    """What names an ONNX file as a suspect.

    Args:
        files: SHA-256 of the file and of those beside it, in the order of `checked_files`.
        prepare: how samples become its input.
    """
    return {"kind": "onnx", "files": list(files), "preparation": described(prepare)}


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _runtime() -> Any:
    try:
        return importlib.import_module("onnxruntime")
    except ModuleNotFoundError as error:
        raise MissingExtraError("onnxruntime", "onnx") from error


def runtime_errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises."""
    # Its own exceptions share no base but Exception.
    state = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    kinds = [kind for kind in vars(state).values() if isinstance(kind, type)]
    return (*(k for k in kinds if issubclass(k, Exception)), RuntimeError, ValueError)


def brief(error: Exception) -> str:
    """One line of what may quote the stranger's file."""
    text = " ".join(str(error).split())[:_MOST_SHOWN]
    return text if text.isprintable() else ascii(text)


def _session(path: Path) -> Any:
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # it would write to stderr; failures raise anyway
    try:
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except runtime_errors() as error:
        raise SuspectError(
            f"{path} cannot be run by ONNX Runtime {runtime.__version__}: {brief(error)}; a "
            "newer version may know its operators, or have it exported for an older operator set"
        ) from error


def _input_shape(path: Path, inputs: dict[str, Any]) -> list[Any]:
    if not inputs or (len(inputs) > 1 and set(inputs) != {"input_ids", "attention_mask"}):
        raise SuspectError(
            f"{path} takes {len(inputs)} inputs ({', '.join(inputs)}); it can be asked with one, "
            "or with input_ids and attention_mask"
        )
    return list(next(iter(inputs.values())).shape)


def _best_output(outputs: list[Any]) -> Any:
    """Scores, if there are any, else the first output, which may hold classes."""
    for output in outputs:
        if isinstance(output, np.ndarray) and output.dtype.kind == "f" and output.ndim == 2:
            return output
    return outputs[0] if outputs else None


def _shown(shape: list[Any]) -> str:
    return "(" + ", ".join("?" if size is None else str(size) for size in shape) + ")"
