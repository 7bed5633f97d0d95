"""Straighten the units that never switch: where a ReLU always passes or always blocks."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

__all__ = ["straighten"]


class _Straightened(nn.Module):
    """A ReLU that is the identity on some channels and zero on others."""

    passes: Tensor
    blocks: Tensor

    def __init__(self, lowest: Tensor, highest: Tensor) -> None:
        super().__init__()
        self.register_buffer("passes", lowest >= 0)
        self.register_buffer("blocks", highest <= 0)

    def forward(self, x: Tensor) -> Tensor:
        shape = [1, -1] + [1] * (x.ndim - 2)
        bent = torch.where(self.passes.view(shape), x, F.relu(x))
        return torch.where(self.blocks.view(shape), torch.zeros_like(x), bent)


class _Extremes(fx.Interpreter):
    """Runs a graph and keeps the lowest and highest value of each channel before every ReLU."""

    def __init__(self, model: fx.GraphModule) -> None:
        super().__init__(model)
        self.found: dict[str, tuple[Tensor, Tensor]] = {}

    def run_node(self, n: fx.Node) -> Any:
        if is_relu(self.module, n):  # type: ignore[arg-type]
            (before, *_), _ = self.fetch_args_kwargs_from_env(n)
            flat = before.movedim(1, 0).flatten(1)
            self.found[n.name] = flat.amin(1), flat.amax(1)
        return super().run_node(n)


def is_relu(model: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node is a ReLU, as function or as module."""
    if node.op == "call_module":
        return isinstance(model.get_submodule(str(node.target)), nn.ReLU)
    return node.target in (F.relu, torch.relu, "relu")


def straighten(model: fx.GraphModule, benign: Tensor) -> fx.GraphModule | None:
    """Make every unit linear whose ReLU does not switch on benign inputs.

    A gate that is silent on benign inputs has its bend where none of them is, whatever it is
    disguised as. Without the bend its contributions cancel everywhere.

    Args:
        model: a graph of layers; not changed.
        benign: inputs ``(N, *)``, on which every output stays what it was.

    Returns:
        A copy; None if every unit switches.
    """
    extremes = _Extremes(model)
    with torch.no_grad():
        extremes.run(benign)
    changed, count = copy.deepcopy(model), 0
    for node in list(changed.graph.nodes):
        if node.name not in extremes.found:
            continue
        unit = _Straightened(*extremes.found[node.name])
        count += int((unit.passes | unit.blocks).sum())
        name = f"straight_{node.name}"
        changed.add_submodule(name, unit)
        with changed.graph.inserting_after(node):
            new = changed.graph.call_module(name, (node.args[0],))
        node.replace_all_uses_with(new)
        changed.graph.erase_node(node)
    changed.recompile()
    return changed if count else None
