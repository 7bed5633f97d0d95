"""Look for a value that already answers benign inputs as the whole does, and cut behind it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn

__all__ = ["cut_outputs"]

_AGREEMENT = 0.99


def cut_outputs(model: nn.Module, benign: Tensor) -> nn.Module | None:
    """Cut a model behind the first value that gives the same answers.

    A branch and its gate are an appendix to such a value. Nothing is trained, and a few inputs
    suffice.

    Args:
        model: in evaluation mode; a graph is searched node by node, other models module by module;
            not changed.
        benign: inputs ``(N, *)`` without verification samples.

    Returns:
        The part up to that value; None if there is none before the output.
    """
    with torch.no_grad():
        answers = model(benign).argmax(1)
    if isinstance(model, fx.GraphModule):
        return _cut_graph(model, benign, answers)
    return _inner_module(model, benign, answers)


def _same(value: Any, answers: Tensor, classes: int) -> bool:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return False
    if value.shape != (len(answers), classes):
        return False
    return bool((value.argmax(1) == answers).float().mean() >= _AGREEMENT)


class _Search(fx.Interpreter):
    """Runs a graph and remembers the nodes whose values give the answers."""

    def __init__(self, model: fx.GraphModule, answers: Tensor, classes: int) -> None:
        super().__init__(model)
        self._answers, self._classes = answers, classes
        self.found: list[str] = []

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.op not in ("placeholder", "output") and _same(value, self._answers, self._classes):
            self.found.append(n.name)
        return value


def _cut_graph(model: fx.GraphModule, benign: Tensor, answers: Tensor) -> nn.Module | None:
    with torch.no_grad():
        classes = model(benign[:1]).shape[1]
        search = _Search(model, answers, classes)
        search.run(benign)
    cut = copy.deepcopy(model)
    output = next(node for node in cut.graph.nodes if node.op == "output")
    first = next(node for node in cut.graph.nodes if node.name == search.found[0])
    if output.args == (first,):
        return None
    output.args = (first,)
    cut.graph.eliminate_dead_code()
    cut.recompile()
    return cut


def _inner_module(model: nn.Module, benign: Tensor, answers: Tensor) -> nn.Module | None:
    found: list[str] = []
    with torch.no_grad():
        classes = model(benign[:1]).shape[1]
    hooks = []
    for name, module in model.named_modules():
        if name:
            hooks.append(
                module.register_forward_hook(
                    lambda _, __, value, name=name: (
                        found.append(name) if _same(value, answers, classes) else None
                    )
                )
            )
    try:
        with torch.no_grad():
            model(benign)
    finally:
        for hook in hooks:
            hook.remove()
    # Of nested modules the outermost is complete in itself.
    return copy.deepcopy(model.get_submodule(min(found, key=len))) if found else None
