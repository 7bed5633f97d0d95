"""The layers an attack changes, a private copy of a model, and its statistics re-estimated."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils.parametrize import is_parametrized

from modeldeed.errors import OptionError

__all__ = ["chunks", "copy_of", "drawn_seed", "re_estimate", "weighted_layers", "weights_of"]

_CHUNK = 128
_ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


def copy_of(model: nn.Module) -> nn.Module:
    """A deep copy in evaluation mode, without gradients: the given model is never touched."""
    changed = copy.deepcopy(model).eval()
    for parameter in changed.parameters():
        parameter.grad = None
    return changed


def weighted_layers(
    model: nn.Module, kinds: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Linear)
) -> list[tuple[str, Any]]:
    """The layers with a weight, each weight once, in the model's order.

    Args:
        model: what is attacked.
        kinds: which layers.

    Returns:
        Names and layers; of layers that share a weight, the first.

    Raises:
        OptionError: there are none, or one's weight is computed by a parametrization, so that
            writing to it would be lost.
    """
    found, seen = [], set()
    for name, module in model.named_modules():
        if not isinstance(module, kinds):
            continue
        if is_parametrized(module, "weight"):
            raise OptionError(
                f"{name} ({type(module).__name__}) computes its weight by a parametrization; "
                "merge it with torch.nn.utils.parametrize.remove_parametrizations first"
            )
        if id(module.weight) not in seen:
            seen.add(id(module.weight))
            found.append((name, module))
    if not found:
        raise OptionError(
            f"{type(model).__name__} has no layer of {', '.join(k.__name__ for k in kinds)}; "
            "there is nothing to attack"
        )
    return found


def weights_of(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """The weights of `weighted_layers`, and those that attention holds beside its layers.

    Args:
        model: what is attacked.

    Returns:
        Names and weights in the model's order, each once.

    Raises:
        OptionError: as `weighted_layers`.
    """
    wanted = {id(layer.weight) for _, layer in weighted_layers(model)}
    for module in model.modules():
        if isinstance(module, nn.MultiheadAttention):
            held = (getattr(module, name, None) for name in _ATTENTION)
            wanted |= {id(weight) for weight in held if weight is not None}
    return [(name, weight) for name, weight in model.named_parameters() if id(weight) in wanted]


def drawn_seed(generator: torch.Generator) -> int:
    """A seed for what cannot take the generator itself."""
    return int(torch.randint(2**31, (), generator=generator))


def chunks(inputs: Tensor) -> Sequence[Tensor]:
    """Inputs in pieces of nearly equal size, at most 128 each, so that averages weigh alike."""
    return torch.tensor_split(inputs, -(-len(inputs) // _CHUNK))


def re_estimate(model: nn.Module, calibration: Tensor) -> None:
    """Replace running statistics by those of some inputs; nothing else changes or is drawn.

    Args:
        model: changed in place; dropout and everything else stay in evaluation mode.
        calibration: unlabelled inputs, shape ``(N, *)``, N ≥ 2.

    Raises:
        OptionError: fewer than two inputs.
    """
    if len(calibration) < 2:
        raise OptionError(f"statistics need at least 2 inputs, got {len(calibration)}")
    norms = [m for m in model.modules() if isinstance(m, _NormBase) and m.running_mean is not None]
    before = [(norm, norm.momentum) for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the pieces
        norm.train()
    try:
        if norms:
            with torch.no_grad():
                for piece in chunks(calibration):
                    model(piece)
    finally:
        for norm, momentum in before:
            norm.momentum = momentum
            norm.eval()
