"""Running a layer's own forward with other tensors in place of its scale, bias and statistics.

The layer itself is not touched, not even for the moment: a *shadow* of it, an object of the same
class that shares everything but the tensor tables, runs in its stead. Whatever the class does
(casts, permutations, a fused activation, statistics shared between processes) is done as it does
it. Making a shadow takes a few microseconds, and compilers see through it.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from modeldeed.passport.norms.registry import RunningStatistics

__all__ = ["run_own_forward", "shadow"]

Module = TypeVar("Module", bound=nn.Module)


def shadow(module: Module, tensors: dict[str, Tensor | None]) -> Module:
    """An object that is like a module but holds other tensors under some names.

    Args:
        module: a layer; not changed, its other tensors and its children are shared.
        tensors: attribute name → tensor; names that are neither parameter nor buffer are ignored.
    """
    twin: Any = object.__new__(type(module))
    state = dict(vars(module))
    # A forward set on the instance is our own replacement, or wraps the layer's.
    state.pop("forward", None)
    for table in ("_parameters", "_buffers"):
        kept = state[table]
        state[table] = {name: tensors.get(name, kept[name]) for name in kept}
    vars(twin).update(state)
    return twin  # type: ignore[no-any-return]


def run_own_forward(
    norm: Any,
    x: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    statistics: RunningStatistics | None,
) -> Tensor:
    """Run a layer's own forward with another scale, bias and statistics.

    Args:
        norm: the layer; not changed.
        x: its input.
        scale: in place of ``weight``, shape ``(C,)``.
        bias: in place of ``bias``; added to the output, along its last dimension, where the
            layer has none.
        statistics: in place of the running statistics, updated by the layer's own rule.
    """
    tensors: dict[str, Tensor | None] = {"weight": scale, "bias": bias}
    if statistics is not None:
        tensors |= {
            "running_mean": statistics.mean,
            "running_var": statistics.var,
            "num_batches_tracked": torch.tensor(statistics.count),
        }
    twin: Any = shadow(norm, tensors)
    if statistics is not None:
        twin.momentum = statistics.momentum
        if norm.training:
            statistics.next_weight()
    y: Tensor = type(norm).forward(twin, x)
    has_bias = "bias" in twin._parameters or "bias" in twin._buffers
    return y if has_bias or bias is None else y + bias
