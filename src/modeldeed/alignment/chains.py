"""Weighted operations that follow each other with nothing between: one operation in truth."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from modeldeed.alignment.recording import Operation
from modeldeed.alignment.rewriting import dense

__all__ = ["with_chains"]

_LONGEST = 4
# What rounding to 8 bits between two operations may leave; an activation changes more.
_ROUNDED = 0.03


def with_chains(operations: Sequence[Operation]) -> list[Operation]:
    """Operations and the products of up to four that follow each other directly.

    One follows another directly if it reads exactly what that one wrote. They are one operation
    again if all but one are pointwise: a layer that was split or had linear layers inserted.

    Args:
        operations: of a suspect, in order.

    Returns:
        Those and the products, in order of their last parts.
    """
    found: list[tuple[int, Operation]] = list(enumerate(operations))
    fresh = list(found)
    for _ in range(_LONGEST - 1):
        longer = []
        for last, first_part in fresh:
            for later in range(last + 1, len(operations)):
                whole = _product(first_part, operations[later])
                if whole is not None:
                    longer.append((later, whole))
        found += longer
        fresh = longer
    return [operation for _, operation in sorted(found, key=lambda entry: entry[0])]


def _product(first: Operation, then: Operation) -> Operation | None:
    if first.geometry[1] != then.geometry[0] or first.outputs.shape != then.inputs.shape:
        return None
    if not (first.pointwise or then.pointwise):
        return None
    written = first.outputs if first.bias is None else first.outputs + first.bias.float()
    if (written - then.inputs).norm() > _ROUNDED * then.inputs.norm():
        return None
    one, two = dense(first.weight, first.groups).float(), dense(then.weight, then.groups).float()
    weight, outputs = _multiplied(one, two), then.outputs
    if first.bias is not None:  # a constant where no border is near
        outputs = outputs - two.flatten(2).sum(2) @ first.bias.float() if two.dim() > 2 else (
            outputs - two @ first.bias.float()
        )  # fmt: skip
    return Operation(
        weight=weight,
        name="",
        bias=then.bias,
        inputs=first.inputs,
        outputs=outputs,
        geometry=(first.geometry[0], then.geometry[1]),
        pointwise=first.pointwise and then.pointwise,
        of=(*(first.of or (first.name,)), then.name),
    )


def _multiplied(one: Tensor, two: Tensor) -> Tensor:
    """The weight of ``two`` behind ``one``, of which one is pointwise."""
    kernel = one.shape[2:] if one[0, 0].numel() > 1 else two.shape[2:]
    a, b = one.flatten(2) if one.dim() > 2 else one[..., None], (
        two.flatten(2) if two.dim() > 2 else two[..., None]
    )  # fmt: skip
    product = torch.einsum("omj,mik->oijk", b, a)
    return product.reshape(two.shape[0], one.shape[1], *kernel)
