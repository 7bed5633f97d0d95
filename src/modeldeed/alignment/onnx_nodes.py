"""The weighted operations of an ONNX graph, whatever exporter or optimizer wrote it.

A weight is what depends on no input: an initializer, or what is computed from such alone (turned,
cast, multiplied with the scale of its integers).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from modeldeed.data._extras import import_extra
from modeldeed.errors import SuspectError

__all__ = ["Node", "Numbers", "weighted_nodes"]

Kind = Literal["conv", "transposed", "product"]

_MOST_NODES = 100_000
_MOST_WEIGHTED = 10_000
_LONGEST_NAME = 200


@dataclass(frozen=True)
class _Form:
    """Where an operator has its inputs: values, scale and zero point of each; −1 for none."""

    kind: Kind
    reads: tuple[int, int, int] = (0, -1, -1)
    weight: tuple[int, int, int] = (1, -1, -1)
    bias: int = 2


# Of the operator set and, below, of what ONNX Runtime's optimizers make of it. How a bias of a
# quantized operator is scaled does not matter: it is left out.
_FORMS = {
    "Conv": _Form("conv"),
    "ConvTranspose": _Form("transposed"),
    "Gemm": _Form("product"),
    "MatMul": _Form("product", bias=-1),
    "ConvInteger": _Form("conv", (0, -1, 2), (1, -1, 3), -1),
    "MatMulInteger": _Form("product", (0, -1, 2), (1, -1, 3), -1),
    "QLinearConv": _Form("conv", (0, 1, 2), (3, 4, 5), -1),
    "QLinearMatMul": _Form("product", (0, 1, 2), (3, 4, 5), -1),
    "FusedConv": _Form("conv"),
    "FusedGemm": _Form("product"),
    "FusedMatMul": _Form("product", bias=-1),
    "TransposeMatMul": _Form("product", bias=-1),
    "QGemm": _Form("product", (0, 1, 2), (3, 4, 5), -1),
    "DynamicQuantizeMatMul": _Form("product", (0, -1, -1), (1, 2, 3), -1),
    "MatMulIntegerToFloat": _Form("product", (0, 2, 4), (1, 3, 5), -1),
}
_DOMAINS = ("", "ai.onnx", "com.microsoft")
_BOUND_TO_A_MACHINE = "com.microsoft.nchwc"


@dataclass(frozen=True)
class Numbers:
    """Where a graph holds real values: by themselves, or as (integers − zero) · scale.

    Attributes:
        values: the tensor's name.
        scale: of its integers; None for none.
        zero: likewise.
    """

    values: str
    scale: str | None = None
    zero: str | None = None

    @property
    def tensors(self) -> list[str]:
        """All names."""
        return [name for name in (self.values, self.scale, self.zero) if name]


@dataclass(frozen=True, eq=False)
class Node:
    """A weighted operation.

    Attributes:
        kind: of convolution, or a matrix product.
        reads: what it is applied to.
        weight: as the graph has it.
        bias: name of a constant that is added; None where there is none or it is not known.
        name: of the initializer that the weight is or comes from.
        attributes: of the operator, by name: numbers, lists of them, bytes.
    """

    kind: Kind
    reads: Numbers
    weight: Numbers
    bias: str | None
    name: str
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def called(self) -> str:
        """The name as a report may show it."""
        name = self.name[:_LONGEST_NAME]
        return name if name.isprintable() else ascii(name)

    @property
    def rows(self) -> int:
        """The dimension of the weight along which its rows lie."""
        if self.kind == "product":
            return 0 if self.attributes.get("transB") else 1
        return 1 if self.kind == "transposed" else 0


def weighted_nodes(graph: Any, label: str) -> tuple[list[Node], frozenset[str]]:
    """The weighted operations of a graph, in order.

    Args:
        graph: an ``onnx.GraphProto``.
        label: how the error calls its file.

    Returns:
        The operations, and the names of all tensors that depend on no input.

    Raises:
        SuspectError: there are too many, or they are laid out for one kind of machine.
    """
    if len(graph.node) > _MOST_NODES:
        raise SuspectError(f"{label} has {len(graph.node)} nodes; {_MOST_NODES} are the most")
    constants = _constants(graph)
    following = _Following(graph, constants)
    found = []
    for node in graph.node:
        if node.domain == _BOUND_TO_A_MACHINE:
            raise SuspectError(
                f"{label} was optimized for one machine's memory layout; have it optimized to the "
                "level 'extended' at most"
            )
        made = _weighted(node, constants, following)
        if made is not None:
            found.append(made)
    if len(found) > _MOST_WEIGHTED:
        raise SuspectError(
            f"{label} has {len(found)} weighted operations; {_MOST_WEIGHTED} are the most"
        )
    return found, frozenset(constants)


def _constants(graph: Any) -> dict[str, str]:
    """Tensors that depend on no input, each with the initializer that it comes from."""
    found = {tensor.name: tensor.name for tensor in graph.initializer}
    for node in graph.node:
        inputs = [name for name in node.input if name]
        known = all(name in found for name in inputs) if inputs else node.op_type == "Constant"
        inner = any(a.HasField("g") or len(a.graphs) for a in node.attribute)
        if known and not inner and node.domain in _DOMAINS:
            comes_from = found[inputs[0]] if inputs else ""
            found.update({name: comes_from for name in node.output if name})
    return found


class _Following:
    """What is added behind a product."""

    def __init__(self, graph: Any, constants: dict[str, str]) -> None:
        self._readers: dict[str, list[Any]] = {}
        self._constants = constants
        for node in graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._kept = {output.name for output in graph.output}

    def bias(self, name: str) -> str | None:
        """The constant that is added to a tensor, if nothing else reads that."""
        readers = self._readers.get(name, [])
        if len(readers) != 1 or name in self._kept or readers[0].op_type != "Add":
            return None
        others = [other for other in readers[0].input if other != name]
        return others[0] if len(others) == 1 and others[0] in self._constants else None


def _weighted(node: Any, constants: dict[str, str], following: _Following) -> Node | None:
    form = _FORMS.get(node.op_type) if node.domain in _DOMAINS else None
    if form is None:
        return None
    reads, weight = _numbers(node, form.reads), _numbers(node, form.weight)
    if reads is None or weight is None or reads.values in constants:
        return None
    if any(name not in constants for name in weight.tensors):
        return None
    attributes = dict(_attributes(node))
    if any(attributes.get(name) for name in ("transA", "transBatchA", "transBatchB")):
        return None
    bias = _input(node, form.bias)
    if bias is None and form.kind == "product" and node.output:
        bias = following.bias(node.output[0])
    return Node(
        kind=form.kind,
        reads=reads,
        weight=weight,
        bias=bias if bias in constants else None,
        name=constants[weight.values],
        attributes=attributes,
    )


def _numbers(node: Any, places: tuple[int, int, int]) -> Numbers | None:
    values, scale, zero = (_input(node, place) for place in places)
    return None if values is None else Numbers(values, scale, zero)


def _input(node: Any, place: int) -> str | None:
    return (node.input[place] or None) if 0 <= place < len(node.input) else None


def _attributes(node: Any) -> Iterator[tuple[str, Any]]:
    helper: Any = import_extra("onnx.helper", "onnx", "onnx")
    for attribute in node.attribute:
        try:
            yield attribute.name, helper.get_attribute_value(attribute)
        except ValueError:
            continue  # of an unknown type: none that is looked for
