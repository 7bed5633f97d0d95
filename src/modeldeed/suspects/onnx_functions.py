"""Local functions of an ONNX file, written out: but not more of them than can be held.

A function can call others, each of them twice, and so on: thirty short functions are a thousand
million nodes. So what they come to is counted before any of them is written out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from modeldeed.data._extras import import_extra
from modeldeed.errors import SuspectError

__all__ = ["MOST_NODES", "inlined", "inner_graphs"]

MOST_NODES = 100_000
_MOST_DEPTH = 64

_Name = tuple[str, str, str]


def inlined(model: Any, label: str) -> Any:
    """A model without local functions.

    Args:
        model: an ``onnx.ModelProto``.
        label: how errors call it.

    Raises:
        SuspectError: its functions call each other in a circle, or come to too many nodes.
        MissingExtraError: onnx is not installed.
    """
    if not len(model.functions):
        return model
    inliner: Any = import_extra("onnx.inliner", "onnx", "onnx")
    checker: Any = import_extra("onnx.checker", "onnx", "onnx")
    functions = {(f.domain, f.name, _overload(f)): f for f in model.functions}
    try:
        size, depth = _size(model.graph.node, functions, {})
    except RecursionError:
        size, depth = 0, _MOST_DEPTH + 1
    if size > MOST_NODES or depth > _MOST_DEPTH:
        raise SuspectError(
            f"{label} has functions of more than {MOST_NODES} nodes written out, or that call "
            f"each other more than {_MOST_DEPTH} deep"
        )
    try:
        return inliner.inline_local_functions(model)
    except checker.ValidationError as error:
        raise SuspectError(f"{label} is no readable ONNX model (ValidationError)") from error


def inner_graphs(attribute: Any) -> Iterable[Any]:
    """The graphs within an attribute."""
    return [attribute.g, *attribute.graphs] if attribute.HasField("g") else attribute.graphs


def _size(
    nodes: Any, functions: dict[_Name, Any], sizes: dict[_Name, tuple[int, int]]
) -> tuple[int, int]:
    """Nodes after writing out, and how deep the calls go.

    Each function is counted once, and one in a circle as too many.
    """
    total, deepest = 0, 0
    for node in _all_nodes(nodes):
        name = (node.domain, node.op_type, _overload(node))
        if name in functions and name not in sizes:
            sizes[name] = (MOST_NODES + 1, 0)  # as long as it is being counted
            sizes[name] = _size(functions[name].node, functions, sizes)
        size, depth = sizes.get(name, (1, -1))
        total, deepest = min(total + size, MOST_NODES + 1), max(deepest, depth + 1)
    return total, deepest


def _all_nodes(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in inner_graphs(attribute):
                yield from _all_nodes(graph.node)


def _overload(named: Any) -> str:
    return str(getattr(named, "overload", ""))  # newer versions of onnx have it
