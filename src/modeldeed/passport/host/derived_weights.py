"""Weights as operators see them: parameters, and what a host computes from parameters alone.

A cast, a transpose or weight norm stands between a parameter and the product that uses it. A
`Weight` follows the parameter through such steps for as long as its channels keep their
directions, because a bit is the sign of a direction: of ŵᵢ, a row divided by its length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

__all__ = ["KEEPS_DIMENSIONS", "Weight", "derived", "tensors_in"]

aten = torch.ops.aten

KEEPS_DIMENSIONS = {aten.detach, aten.alias, aten.clone, aten._to_copy, aten.lift_fresh}
_SCALES = {aten.mul, aten.mul_, aten.div, aten.div_}


@dataclass(frozen=True)
class Weight:
    """A tensor computed from parameters and buffers alone.

    Attributes:
        names: the parameters; empty when it was computed from buffers only.
        dimensions: for each of its dimensions, that of the parameter whose slices have the same
            directions; None where there is none. None as a whole when all are mixed.
    """

    names: tuple[str, ...]
    dimensions: tuple[int | None, ...] | None = None


def derived(operator: Any, args: tuple[Any, ...], known: Sequence[Weight], out: Any) -> Weight:
    """What an operator made of weights.

    Args:
        operator: its overload packet.
        args: its positional arguments.
        known: the weights among them, in order; no other tensors are.
        out: its result.
    """
    names = tuple(dict.fromkeys(name for weight in known for name in weight.names))
    if len(known) == 1 and known[0].dimensions is not None:
        return Weight(names, _moved(operator, args, known[0].dimensions, out))
    if operator is aten._weight_norm_interface:
        # w = g v / ‖v‖, the length of a slice along one dimension: slices along it keep directions.
        return Weight(known[0].names, _only(known[0].dimensions, args[2] if len(args) > 2 else 0))
    if operator in _SCALES and len(known) == 2:
        return _scaled(operator, tensors_in(args), known, names)
    return Weight(names)


def _scaled(
    operator: Any, tensors: list[Tensor], known: Sequence[Weight], names: tuple[str, ...]
) -> Weight:
    """A weight times or divided by another that is one number, or one for each slice."""
    pairs = list(zip(known, tensors, strict=True))
    commutes = operator in {aten.mul, aten.mul_}
    for (weight, tensor), (_, factor) in [pairs, pairs[::-1]] if commutes else [pairs]:
        if weight.dimensions is None or factor.numel() == tensor.numel() > 1:
            continue
        sizes = (1,) * (tensor.dim() - factor.dim()) + tuple(factor.shape)
        varying = [dimension for dimension, size in enumerate(sizes) if size > 1]
        if not varying:
            return weight
        if len(varying) == 1:
            return Weight(weight.names, _only(weight.dimensions, varying[0]))
    return Weight(names)


def _only(
    dimensions: tuple[int | None, ...] | None, dimension: int
) -> tuple[int | None, ...] | None:
    if dimensions is None:
        return None
    dimension %= len(dimensions)
    return tuple(d if i == dimension else None for i, d in enumerate(dimensions))


def _moved(
    operator: Any, args: tuple[Any, ...], dimensions: tuple[int | None, ...], out: Any
) -> tuple[int | None, ...] | None:
    """Where the dimensions of a weight went; None when the operator mixes or cuts them."""
    order: list[int | None] = list(dimensions)
    if operator in KEEPS_DIMENSIONS | _SCALES | {aten.contiguous, aten.neg}:
        return dimensions
    if operator is aten.t:
        return tuple(reversed(order))
    if operator is aten.transpose:
        a, b = args[1], args[2]
        order[a], order[b] = order[b], order[a]
        return tuple(order)
    if operator is aten.permute:
        return tuple(order[i] for i in args[1])
    reshapes = {
        aten.view, aten._unsafe_view, aten.reshape, aten.unsqueeze, aten.squeeze, aten.expand
    }  # fmt: skip
    if operator in reshapes and isinstance(out, Tensor):
        return _reshaped(args[0].shape, out.shape, order)
    return None


def _reshaped(
    before: Sequence[int], after: Sequence[int], order: list[int | None]
) -> tuple[int | None, ...] | None:
    """Dimensions after sizes of 1, or leading copies, were put in or taken out; else None."""
    kept = [(size, d) for size, d in zip(before, order, strict=True) if size != 1]
    result: list[int | None] = []
    for size in reversed(after):
        if kept and size == kept[-1][0]:
            result.append(kept.pop()[1])
        elif size == 1 or not kept:
            result.append(None)
        else:
            return None
    return None if kept else tuple(reversed(result))


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors of a nested argument, in order."""
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
