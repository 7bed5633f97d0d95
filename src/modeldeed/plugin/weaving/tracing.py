"""A target's graph of operations, with the shape of every value in it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from modeldeed.errors import OptionError

__all__ = ["find_node", "shape_of", "trace"]


def trace(target: nn.Module, example: Tensor) -> fx.GraphModule:
    """The graph of a copy of a target in evaluation mode; the target is not changed.

    Args:
        target: any module that torch.fx can follow: no control flow that depends on data.
        example: one batch of its inputs, shape ``(N, *)``; only shape, dtype and device count.

    Returns:
        A graph module with copies of the target's layers; every node knows its value's shape.

    Raises:
        OptionError: the graph cannot be followed, takes more than one input, or calls a layer
            with weights twice.
    """
    copied = copy.deepcopy(target).eval()
    name = type(target).__name__
    try:
        traced = fx.symbolic_trace(copied)
        with torch.no_grad():
            ShapeProp(traced).propagate(example)
    except Exception as error:  # whatever a foreign forward raises
        raise OptionError(
            f"{name} cannot be woven: torch.fx cannot follow its forward: {error}; "
            "fuse it plainly, without weave"
        ) from error
    if sum(node.op == "placeholder" for node in traced.graph.nodes) != 1:
        raise OptionError(f"{name} cannot be woven: it takes more than one input")
    _refuse_repeated(traced)
    return traced


def _refuse_repeated(traced: fx.GraphModule) -> None:
    seen: set[int] = set()
    for node in traced.graph.nodes:
        if node.op != "call_module":
            continue
        layer = traced.get_submodule(str(node.target))
        if id(layer) in seen and next(layer.parameters(), None) is not None:
            raise OptionError(
                f"{node.target} ({type(layer).__name__}) cannot be woven: it is called twice, and "
                "a layer with weights can grow for one place only"
            )
        seen.add(id(layer))


def find_node(graph: fx.Graph, op: str) -> fx.Node:
    """The only node of a kind, ``"placeholder"`` or ``"output"``."""
    found: fx.Node = next(node for node in graph.nodes if node.op == op)
    return found


def shape_of(node: fx.Node) -> tuple[int, ...] | None:
    """The shape of a node's value; None if it is no tensor."""
    found: Any = node.meta.get("tensor_meta")
    return tuple(found.shape) if hasattr(found, "shape") else None
