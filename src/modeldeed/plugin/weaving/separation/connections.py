"""Look for channels that the scores do not depend on, rows with zeros, and copies of channels."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, fx

from modeldeed.plugin.weaving.layers import layer_at
from modeldeed.plugin.weaving.spaces import Layout, layout_of
from modeldeed.plugin.weaving.tracing import trace
from modeldeed.plugin.weaving.twin import positions

__all__ = ["drop_sparse", "drop_unconnected", "merge_copies"]


def _analysed(model: fx.GraphModule, example: Tensor) -> tuple[fx.GraphModule, Layout]:
    """The graph up to its last linear layer, with its spaces; layers are copies."""
    cut = copy.deepcopy(model)
    last = [n for n in cut.graph.nodes if _is_linear(cut, n)][-1]
    next(n for n in cut.graph.nodes if n.op == "output").args = (last,)
    cut.graph.eliminate_dead_code()
    cut.recompile()
    traced = trace(cut, example)
    return traced, layout_of(traced)


def _is_linear(model: fx.GraphModule, node: fx.Node) -> bool:
    return node.op == "call_module" and isinstance(layer_at(model, node), torch.nn.Linear)


def drop_unconnected(
    model: fx.GraphModule, example: Tensor, classes: int, tolerance: float = 0.0
) -> fx.GraphModule | None:
    """Silence the channels from which no path of weights leads to the scores.

    Args:
        model: a graph of layers; not changed.
        example: some inputs; only the shape counts.
        classes: K: the first K rows of the last linear layer are the scores.
        tolerance: weights count as zero up to this part of their row's root mean square.

    Returns:
        A copy without them; None if every channel has a path.
    """
    graph, layout = _analysed(model, example)
    reached = {s.number: torch.zeros(s.channels, dtype=torch.bool) for s in layout.spaces}
    wanted = torch.zeros(layout.space(layout.last).channels, dtype=torch.bool)
    wanted[:classes] = True
    reached[layout.of[layout.last.name]] |= wanted
    links = _links(graph, layout, tolerance)
    for _ in links:  # spaces with a sum in them are met more than once
        for into, out, connected in links:
            reached[into] |= connected[reached[out]].any(0)
    gone = {number: ~each for number, each in reached.items()}
    return _without(model, graph, layout, gone)


def drop_sparse(model: fx.GraphModule, example: Tensor) -> fx.GraphModule | None:
    """Silence the channels whose rows hold more zeros than half of their layer's rows do.

    Where a detector's rows do not read the target's channels, zeros give them away.

    Args:
        model: a graph of layers; not changed.
        example: some inputs; only the shape counts.

    Returns:
        A copy without them; None if there are none.
    """
    graph, layout = _analysed(model, example)
    gone = {s.number: torch.zeros(s.channels, dtype=torch.bool) for s in layout.spaces}
    for node, role in layout.layers(graph.graph):
        if role not in ("conv", "linear") or node is layout.last:
            continue
        channels = layout.space(node.all_input_nodes[0]).channels
        connected = _by_channel(layer_at(graph, node), channels).abs().amax(2) > 0
        zeros = (~connected).sum(1)
        gone[layout.of[node.name]] |= zeros > zeros.median()
    return _without(model, graph, layout, gone)


def _without(
    model: fx.GraphModule, graph: fx.GraphModule, layout: Layout, gone: dict[int, Tensor]
) -> fx.GraphModule | None:
    """A copy with some channels of each space silenced; None if there are none."""
    changed, dropped = copy.deepcopy(model), 0
    for node, role in layout.layers(graph.graph):
        which = gone[layout.of[node.name]]
        if role != "depthwise" and node is not layout.last and which.any():
            dropped += int(which.sum())
            layer = layer_at(changed, node)
            with torch.no_grad():
                layer.weight[which] = 0
                if layer.bias is not None:
                    layer.bias[which] = 0
    return changed if dropped else None


def _links(
    graph: fx.GraphModule, layout: Layout, tolerance: float
) -> list[tuple[int, int, Tensor]]:
    """Of every layer: the spaces it reads and makes, and which channels are connected."""
    links = []
    for node, role in layout.layers(graph.graph):
        if role not in ("conv", "linear"):
            continue
        source = node.all_input_nodes[0]
        weight = _by_channel(layer_at(graph, node), layout.space(source).channels)
        rows = weight.square().mean((1, 2)).sqrt()
        connected = weight.abs().amax(2) > tolerance * rows[:, None]
        links.append((layout.of[source.name], layout.of[node.name], connected))
    return links[::-1]


def _by_channel(layer: Any, channels: int) -> Tensor:
    weight = layer.weight.detach()
    view: Tensor = weight.reshape(len(weight), channels, -1)
    return view


@torch.no_grad()
def merge_copies(
    model: fx.GraphModule, benign: Tensor, likeness: float = 0.99999
) -> fx.GraphModule | None:
    """Add the weights of channels that are multiples of each other on benign inputs.

    What cancels between two copies is gone afterwards, and a block that was filled so is empty.

    Args:
        model: a graph of layers; not changed.
        benign: inputs ``(N, *)``.
        likeness: cosine of the values from which on two channels count as copies.

    Returns:
        A copy where every layer reads one of them only; None if there are none.
    """
    graph, layout = _analysed(model, benign[:2])
    values = _Values(graph)
    values.run(benign)
    changed, merged = copy.deepcopy(model), 0
    for node, role in layout.layers(graph.graph):
        source = node.all_input_nodes[0]
        if role not in ("conv", "linear") or layout.space(source).fixed:
            continue
        channels = layout.space(source).channels
        flat = values.kept[source.name].double()
        each = positions(layout, node) if role == "linear" else 1
        if each > 1:
            flat = flat.view(len(flat), channels, each)
        merged += _merge(layer_at(changed, node), flat.movedim(1, 0).flatten(1), likeness)
    return changed if merged else None


class _Values(fx.Interpreter):
    """Runs a graph and keeps every value."""

    def __init__(self, model: fx.GraphModule) -> None:
        super().__init__(model)
        self.kept: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.kept[n.name] = value
        return value


def _merge(layer: Any, values: Tensor, likeness: float) -> int:
    """Merge the columns of one layer; ``values`` are those of its channels, ``(C, *)``."""
    sizes = values.norm(dim=1)
    unit = values / sizes.clamp_min(1e-12)[:, None]
    alike = (unit @ unit.T > likeness) & (sizes > 0) & (sizes > 0)[:, None]
    weight = layer.weight.view(len(layer.weight), len(values), -1)
    merged = 0
    for channel in range(len(values)):
        first = int(alike[channel].nonzero()[0]) if alike[channel].any() else channel
        if first != channel:
            factor = float(sizes[channel] / sizes[first])
            weight[:, first] += factor * weight[:, channel]
            weight[:, channel] = 0
            merged += 1
    return merged
