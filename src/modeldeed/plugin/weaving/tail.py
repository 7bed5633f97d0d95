"""The gate and the mixture of the plain fusion, as operations at the end of a graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from modeldeed.plugin.fusion import Mixture
from modeldeed.plugin.weaving.layers import layer_at
from modeldeed.plugin.weaving.tracing import find_node
from modeldeed.plugin.weaving.widening import Widened

__all__ = ["append_gate"]


def append_gate(widened: Widened, mixture: Mixture, threshold: Tensor) -> fx.GraphModule:
    """Let a woven body answer as the plain fusion does.

    Args:
        widened: its body is changed in place.
        mixture: of the plain fusion, for this detector and target.
        threshold: of the detector, a probability.

    Returns:
        The body, now from the target's input to K scores.
    """
    body = widened.body
    weight = layer_at(body, widened.layout.last).weight
    width, known = len(weight), widened.classes
    place = {"device": weight.device, "dtype": weight.dtype}
    mixture = mixture.to(weight.device)
    tail, constants = _operations(mixture, threshold.to(**place), width - known, known)
    output = find_node(body.graph, "output")
    joined = output.args[0]
    with body.graph.inserting_before(output):
        parts = [
            body.graph.call_function(torch.narrow, (joined, 1, start, length))
            for start, length in ((0, known), (known, width - known))
        ]
        given = [*parts, *(_constant(body, value) for value in constants)]
        placeholders = [node for node in tail.graph.nodes if node.op == "placeholder"]
        values = dict(zip(placeholders, given, strict=True))
        for node in tail.graph.nodes:
            if node.op == "output":
                output.args = (values[node.args[0]],)
            elif node.op == "get_attr":
                values[node] = _constant(body, getattr(tail, str(node.target)))
            elif node.kwargs.get("device") is not None and not node.all_input_nodes:
                # A number that was made on one device would not move with the model.
                values[node] = _constant(body, node.target(*node.args, **node.kwargs))
            elif node.op != "placeholder":
                values[node] = body.graph.node_copy(node, values.__getitem__)
    body.graph.eliminate_dead_code()
    body.recompile()
    return body


def _operations(
    mixture: Mixture, threshold: Tensor, logits: int, classes: int
) -> tuple[fx.GraphModule, list[Tensor]]:
    """The mixture's operations for any number of samples, and the constants they take."""
    names, buffers = zip(*mixture.named_buffers(), strict=True)

    def mix(scores: Tensor, evidence: Tensor, threshold: Tensor, *values: Tensor) -> Any:
        held = dict(zip(names, values, strict=True))
        return functional_call(mixture, held, (scores, evidence, threshold))

    # Not 1 sample, nor a number that stands for something else: those would be taken as fixed.
    samples = classes + logits + 3
    scores = threshold.new_zeros(samples, classes)
    evidence = threshold.new_zeros(samples, logits)
    constants = [threshold, *buffers]
    with torch.no_grad():
        traced = make_fx(mix, tracing_mode="symbolic")(scores, evidence, *constants)
    return traced, constants


def _constant(body: fx.GraphModule, value: Tensor) -> fx.Node:
    number = sum(1 for name, _ in body.named_buffers() if name.startswith("constant_"))
    body.register_buffer(f"constant_{number}", value.detach().clone())
    return body.graph.get_attr(f"constant_{number}")
