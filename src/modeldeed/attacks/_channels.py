"""Output channels of layers: which norm stands behind a layer, what a channel says, its removal."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from modeldeed.attacks._layers import chunks

__all__ = ["activations", "norms_behind", "silence"]

_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm)


def norms_behind(model: nn.Module, layers: list[Any], example: Tensor) -> dict[int, nn.Module]:
    """The norm that takes a layer's output, seen by running the model once.

    Args:
        model: in evaluation mode; left as it is.
        layers: some of its layers.
        example: a batch of its input.

    Returns:
        ``id`` of a layer → its norm, where there is one.
    """
    made: dict[int, int] = {}
    held: list[Tensor] = []  # keeps outputs alive, so that no two have the same id
    found: dict[int, nn.Module] = {}

    def remember(layer: nn.Module, _: Any, output: Tensor) -> None:
        made[id(output)] = id(layer)
        held.append(output)

    def look(norm: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs and id(inputs[0]) in made:
            found[made[id(inputs[0])]] = norm

    hooks = [layer.register_forward_hook(remember) for layer in layers]
    hooks += [m.register_forward_pre_hook(look) for m in model.modules() if isinstance(m, _NORMS)]
    try:
        with torch.no_grad():
            model(example)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def activations(model: nn.Module, modules: list[Any], inputs: Tensor) -> list[Tensor]:
    """What the channels of some modules say, after a rectifier, on every sample.

    Args:
        model: in evaluation mode; left as it is.
        modules: convolutions, linear layers or norms behind them, each called once a forward.
        inputs: shape ``(N, *)``.

    Returns:
        For each module shape ``(N, C)``: means over positions of the positive part; ``(0, 0)``
        for one that never ran.
    """
    seen: dict[int, list[Tensor]] = {id(module): [] for module in modules}

    def watch(module: nn.Module, _: Any, output: Tensor) -> None:
        positive = output.detach().float().clamp_min(0)
        last = isinstance(module, nn.Linear | nn.LayerNorm) or positive.dim() == 2
        channels = positive if last else positive.movedim(1, -1)
        seen[id(module)].append(channels.flatten(1, -2).mean(1) if channels.dim() > 2 else channels)

    hooks = [module.register_forward_hook(watch) for module in modules]
    try:
        with torch.no_grad():
            for piece in chunks(inputs):
                model(piece)
    finally:
        for hook in hooks:
            hook.remove()
    return [torch.cat(seen[id(m)]) if seen[id(m)] else torch.zeros(0, 0) for m in modules]


def silence(layer: Any, norm: Any, channels: Tensor) -> list[tuple[nn.Parameter, Tensor]]:
    """Set what makes some output channels to zero: rows, biases, and scale and bias behind them.

    Args:
        layer: a convolution or linear layer, changed in place.
        norm: the norm behind it, changed in place; None for none.
        channels: their indices.

    Returns:
        The parameters, each with a mask that is 0 where it was set to zero.
    """
    touched = []
    holders = [layer] if norm is None else [layer, norm]
    for holder in holders:
        for parameter in (getattr(holder, "weight", None), getattr(holder, "bias", None)):
            if parameter is None or len(parameter) != len(layer.weight):
                continue
            mask = torch.ones_like(parameter.data)
            mask[channels.to(mask.device)] = 0
            parameter.data.mul_(mask)
            touched.append((parameter, mask))
    return touched
