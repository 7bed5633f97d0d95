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

__all__ = ["now", "resolved"]


def now() -> int:
    """A moment in the making of graphs: nodes of later ones have larger numbers."""
    with torch.enable_grad():
        node: Any = torch.zeros((), requires_grad=True).clone().grad_fn
    number: int = node._sequence_nr()
    return number


def resolved(
    loss: Tensor, recomputing: AbstractContextManager[None], since: int | None = None
) -> Tensor:
    """The same loss with its gradients computed already, where that changes nothing else.

    Args:
        loss: a scalar.
        recomputing: entered while its backward runs.
        since: when its graph was begun, from `now`. A part that is older is shared with somebody
            else and is kept; None keeps all of it until the last reference to it is gone.

    Returns:
        A loss of the same value whose backward only hands the gradients on, or the loss itself:
        where a parameter has hooks or is sharded, where half-precision gradients wait for a
        scaler, or where a reentrant checkpoint forbids it.

    Note:
        The result cannot be differentiated twice.
    """
    leaves, oldest = _leaves(loss)
    if leaves is None:
        return loss
    # What is not kept is freed while the backward goes on.
    kept = since is None or oldest < since
    with recomputing, torch.autocast(loss.device.type, enabled=False):
        gradients = torch.autograd.grad(loss, leaves, retain_graph=kept)
    result: Tensor = _Resolved.apply(loss.detach(), len(leaves), *gradients, *leaves)  # type: ignore[no-untyped-call]
    return result


def _leaves(loss: Tensor) -> tuple[list[Tensor] | None, float]:
    """The leaves a loss depends on, None when its graph must be kept; and its oldest node."""
    oldest = float("inf")
    if loss.grad_fn is None or _in_float16(loss.device.type):
        return None, oldest
    leaves: dict[int, Tensor] = {}
    seen, stack = {loss.grad_fn}, [loss.grad_fn]
    while stack:
        node: Any = stack.pop()
        if hasattr(node, "variable"):
            leaf = node.variable
            if type(leaf) not in (nn.Parameter, Tensor) or leaf._backward_hooks:
                return None, oldest
            leaves[id(leaf)] = leaf
            continue
        if node.name().startswith("CheckpointFunction"):
            return None, oldest
        oldest = min(oldest, node._sequence_nr())
        for parent, _ in node.next_functions:
            if parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return list(leaves.values()), oldest


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
