"""What the weighted operations of an ONNX file read and write while it is probed.

ONNX Runtime gives what each of them reads. What it writes is computed anew from that: without its
bias, and without what an optimizer fused behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modeldeed.alignment.onnx_nodes import Node, Numbers, weighted_nodes
from modeldeed.alignment.onnx_products import operation_of
from modeldeed.alignment.recording import Operation
from modeldeed.data._extras import import_extra
from modeldeed.errors import SuspectError
from modeldeed.suspects.answering.onnx_file import brief, runtime_errors
from modeldeed.suspects.onnx_weights import OnnxWeights, parsed, values_of

__all__ = ["ProbedOnnx"]

_AT_ONCE = 2**29  # bytes of activations that are held together
_MOST_ACTIVATIONS = 2**36  # bytes of all of them

Arrays = dict[str, NDArray[Any]]


class ProbedOnnx:
    """An ONNX file that can be probed; itself `modeldeed.alignment.Probed`.

    Args:
        file: open, or its bytes.
        label: how errors call bytes.

    Example:
        >>> from modeldeed.alignment import Probed
        >>> isinstance(ProbedOnnx(b""), Probed)
        True
    """

    def __init__(self, file: OnnxWeights | bytes, label: str = "an ONNX file") -> None:
        self._file = file
        self._label = file.label if isinstance(file, OnnxWeights) else label

    def weighted_operations(self, probes: Any) -> list[Operation]:
        """Probe the file.

        Args:
            probes: its inputs: a tensor, a tuple in the order of its inputs, or a dict by name.

        Returns:
            Operations in the order in which they run, each weight where it first runs.

        Raises:
            SuspectError: it does not take the probes, ONNX Runtime does not know its operators, or
                it is malformed, too large, or laid out for one kind of machine.
            MissingExtraError: onnx or ONNX Runtime is not installed.
        """
        file = self._file
        model = file.proto if isinstance(file, OnnxWeights) else parsed(file, self._label)
        return _Probing(model, self._label).operations(probes)


class _Probing:
    """One file while it is probed.

    Args:
        model: an ``onnx.ModelProto``; its outputs are exchanged for a while.
        label: how errors call it.
    """

    def __init__(self, model: Any, label: str) -> None:
        self._model, self._label = model, label
        self._nodes, self._constants = weighted_nodes(model.graph, label)
        self._initializers = {t.name: t for t in model.graph.initializer}

    def operations(self, probes: Any) -> list[Operation]:
        nodes = list({(node.weight, node.reads): node for node in self._nodes}.values())
        fed = self._fed(probes)
        if not nodes:
            return []
        constants = self._run(sorted(self._wanted_constants(nodes)), fed[:1])
        found, done = [], set[Numbers]()
        for part in self._parts(nodes, fed):
            names = sorted({name for node in part for name in node.reads.tensors})
            read = {**constants, **self._run([n for n in names if n not in constants], fed)}
            for node in part:
                made = None if node.weight in done else self._operation(node, read)
                if made is not None:
                    done.add(node.weight)
                    found.append(made)
        return found

    def _operation(self, node: Node, read: Mapping[str, NDArray[Any]]) -> Operation | None:
        bias = None if node.bias is None else torch.from_numpy(read[node.bias]).float()
        try:
            reads, weight = _real(node.reads, read, -1), _real(node.weight, read, node.rows)
            return operation_of(node, reads, weight, bias)
        except (ValueError, TypeError, RuntimeError, IndexError) as error:
            raise SuspectError(
                f"{self._label}: what {node.called} writes cannot be computed: {brief(error)}"
            ) from error

    def _wanted_constants(self, nodes: Sequence[Node]) -> set[str]:
        names = {name for node in nodes for name in (*node.weight.tensors, node.bias) if name}
        return names | {n for node in nodes for n in node.reads.tensors if n in self._constants}

    def _fed(self, probes: Any) -> list[Arrays]:
        """The probes as the file's inputs: all at once, or as many at a time as it takes."""
        inputs = [i for i in self._model.graph.input if i.name not in self._initializers]
        if isinstance(probes, Mapping):
            given = {str(name): value for name, value in probes.items()}
        else:
            values = (probes,) if isinstance(probes, Tensor) else tuple(probes)
            given = {i.name: value for i, value in zip(inputs, values, strict=False)}
        if set(given) != {i.name for i in inputs}:
            raise SuspectError(
                f"{self._label} takes {len(inputs)} inputs, {_shown(i.name for i in inputs)}; the "
                f"claim's anchor knows {len(given)}, {_shown(given)}"
            )
        arrays = {i.name: _typed(i, given[i.name], self._label) for i in inputs}
        sizes = {_fixed(i, arrays[i.name]) for i in inputs} - {None}
        if not sizes:
            return [arrays]
        if len(sizes) > 1:
            raise SuspectError(f"{self._label} takes inputs of several numbers of samples")
        return _in_groups(arrays, int(sizes.pop() or 1))

    def _parts(self, nodes: Sequence[Node], fed: list[Arrays]) -> Iterator[list[Node]]:
        """Operations in groups whose activations are held together."""
        names = sorted({name for node in nodes for name in node.reads.tensors})
        count = sum(len(next(iter(arrays.values()))) for arrays in fed)
        few = [fed[0]] if len(fed) > 1 else [{n: a[:2] for n, a in fed[0].items()}]
        share = len(next(iter(few[0].values()))) / count
        names = [name for name in names if name not in self._constants]
        sizes = {n: a.nbytes / share for n, a in self._run(names, few).items()} if names else {}
        if sum(sizes.values()) > _MOST_ACTIVATIONS:
            raise SuspectError(f"{self._label} has more activations than can be held")
        part: list[Node] = []
        held = 0.0
        for node in nodes:
            size = sum(sizes.get(name, 0.0) for name in node.reads.tensors)
            if part and held + size > _AT_ONCE:
                yield part
                part, held = [], 0.0
            part.append(node)
            held += size
        if part:
            yield part

    def _run(self, names: Sequence[str], fed: Sequence[Arrays]) -> Arrays:
        """Some tensors of the graph, for all that is fed together."""
        stored = {n: values_of(self._initializers[n], self._label).numpy()
                  for n in names if n in self._initializers}  # fmt: skip
        stored |= {n: np.concatenate([a[n] for a in fed]) for n in names if n in fed[0]}
        wanted = [name for name in names if name not in stored]
        if not wanted:
            return stored
        session, options = self._session(wanted)
        try:
            runs = [session.run(wanted, arrays, options) for arrays in fed]
        except _failures() as error:
            raise SuspectError(
                f"{self._label} cannot be run on the probes of an aligned reading: {brief(error)}"
            ) from error
        found = {name: [run[place] for run in runs] for place, name in enumerate(wanted)}
        joined = {n: np.concatenate(a) if len(a) > 1 else a[0] for n, a in found.items()}
        return {**stored, **joined}

    def _session(self, names: Sequence[str]) -> tuple[Any, Any]:
        runtime: Any = import_extra("onnxruntime", "onnxruntime", "onnx")
        onnx: Any = import_extra("onnx", "onnx", "onnx")
        options, how = runtime.SessionOptions(), runtime.RunOptions()
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # it would write to stderr; failures raise anyway
        how.only_execute_path_to_fetches = True
        how.log_severity_level = 4
        try:
            data = self._with_outputs([onnx.ValueInfoProto(name=name) for name in names])
            providers = ["CPUExecutionProvider"]
            return runtime.InferenceSession(data, options, providers=providers), how
        except _failures() as error:
            raise SuspectError(
                f"{self._label} cannot be run by ONNX Runtime {runtime.__version__}: {brief(error)}"
            ) from error

    def _with_outputs(self, outputs: list[Any]) -> bytes:
        graph = self._model.graph
        own = list(graph.output)
        try:
            del graph.output[:]
            graph.output.extend(outputs)
            data: bytes = self._model.SerializeToString()
            return data
        finally:
            del graph.output[:]
            graph.output.extend(own)


def _failures() -> tuple[type[Exception], ...]:
    protobuf: Any = import_extra("google.protobuf.message", "onnx", "onnx")
    return (*runtime_errors(), MemoryError, protobuf.EncodeError)


def _real(numbers: Numbers, read: Mapping[str, NDArray[Any]], axis: int) -> Tensor:
    """The real values: (integers − zero) · scale, the latter two of one value or one for each row.

    A scale that is not known is one.
    """
    values = torch.from_numpy(np.ascontiguousarray(read[numbers.values]).astype(np.float32))
    for name, apply in ((numbers.zero, torch.sub), (numbers.scale, torch.mul)):
        if name is not None:
            other = torch.from_numpy(np.asarray(read[name]).astype(np.float32))
            if other.numel() > 1:
                shape = [1] * values.dim()
                shape[axis] = other.numel()
                other = other.reshape(shape)
            values = apply(values, other.reshape(()) if other.numel() == 1 else other)
    return values


def _typed(entry: Any, value: Tensor, label: str) -> NDArray[Any]:
    """A probe as the file's input takes it."""
    helper: Any = import_extra("onnx.helper", "onnx", "onnx")
    try:
        dtype = helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type)
    except (KeyError, ValueError) as error:
        raise SuspectError(f"{label}: an input is of an unknown type") from error
    array = value.detach().cpu().numpy()
    if (array.dtype.kind == "f") != (dtype.kind == "f"):
        raise SuspectError(
            f"{label} takes {dtype} where the claim's anchor has {array.dtype}: what prepares its "
            "inputs is within the file"
        )
    return np.ascontiguousarray(array.astype(dtype))


def _fixed(entry: Any, array: NDArray[Any]) -> int | None:
    """The number of samples of a file that was made for another number than there are probes."""
    dims = entry.type.tensor_type.shape.dim
    size = dims[0].dim_value if len(dims) else 0
    return None if size <= 0 or size == len(array) else size


def _in_groups(arrays: Arrays, size: int) -> list[Arrays]:
    count = len(next(iter(arrays.values())))
    if size > count or count % size:
        raise SuspectError(
            f"the file takes {size} samples at a time; {count} probes cannot be parted into such "
            "groups: have it exported for one sample, or for any number"
        )
    return [{n: a[k : k + size] for n, a in arrays.items()} for k in range(0, count, size)]


def _shown(names: Any) -> str:
    return ", ".join(ascii(str(name))[:60] for name in list(names)[:8]) or "none"
