"""Private gradients, computed before the public forward begins.

The graph of the private branch then never lives beside the public one: a step needs the memory of
the larger of the two and not of their sum, and a checkpointed host recomputes its activations
while the private branch is still in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ["resolved"]


def resolved(loss: Tensor, recomputing: AbstractContextManager[None]) -> Tensor:
    """The same loss with its gradients computed already, where that changes nothing else.

    Args:
        loss: a scalar.
        recomputing: entered while its backward runs.

    Returns:
        A loss of the same value whose backward only hands the gradients on, or the loss itself:
        where a parameter has hooks or is sharded, where half-precision gradients wait for a
        scaler, or where a reentrant checkpoint forbids it.

    Note:
        The result cannot be differentiated twice.
    """
    leaves = _leaves(loss)
    if leaves is None:
        return loss
    with recomputing, torch.autocast(loss.device.type, enabled=False):
        # Retained: a part of the graph that the public loss shares is still wanted; the rest goes
        # with the last reference to it.
        gradients = torch.autograd.grad(loss, leaves, retain_graph=True)
    result: Tensor = _Resolved.apply(loss.detach(), len(leaves), *gradients, *leaves)  # type: ignore[no-untyped-call]
    return result


def _leaves(loss: Tensor) -> list[Tensor] | None:
    """The leaves a loss depends on; None when its graph must be kept."""
    if loss.grad_fn is None or _in_float16(loss.device.type):
        return None
    leaves: dict[int, Tensor] = {}
    seen, stack = {loss.grad_fn}, [loss.grad_fn]
    while stack:
        node: Any = stack.pop()
        if hasattr(node, "variable"):
            leaf = node.variable
            if type(leaf) not in (nn.Parameter, Tensor) or leaf._backward_hooks:
                return None
            leaves[id(leaf)] = leaf
        elif node.name().startswith("CheckpointFunction"):
            return None
        for parent, _ in node.next_functions:
            if parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return list(leaves.values())


def _in_float16(device: str) -> bool:
    return torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16


class _Resolved(torch.autograd.Function):
    """Hands on gradients that are known already."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, count: int, *tensors: Tensor) -> Tensor:
        ctx.count = count
        ctx.save_for_backward(*tensors[:count])
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        known: Sequence[Tensor] = ctx.saved_tensors
        return (
            None,
            None,
            *[None] * ctx.count,
            *(each * gradient.to(each.device) for each in known),
        )
