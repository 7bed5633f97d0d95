"""A suspect's weight in the coordinates of the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from modeldeed.alignment.maps import ChannelMap
from modeldeed.anchor import Target
from modeldeed.errors import SuspectError

__all__ = ["dense", "in_order", "require_bound", "sparse", "with_inputs"]


def dense(weight: Tensor, groups: int) -> Tensor:
    """A grouped weight with all of its inputs: ``(out, in, *kernel)``."""
    if groups == 1:
        return weight
    out, part = weight.shape[:2]
    whole = weight.new_zeros(out, part * groups, *weight.shape[2:])
    for group in range(groups):
        rows = slice(group * out // groups, (group + 1) * out // groups)
        whole[rows, group * part : (group + 1) * part] = weight[rows]
    return whole


def sparse(weight: Tensor, groups: int) -> Tensor:
    """The inverse of `dense`: what lies outside of a row's group is left out."""
    if groups == 1:
        return weight
    out, part = weight.shape[0], weight.shape[1] // groups
    return torch.cat(
        [
            weight[g * out // groups : (g + 1) * out // groups, g * part : (g + 1) * part]
            for g in range(groups)
        ]
    )


def with_inputs(weight: Tensor, count: int, inputs: ChannelMap) -> Tensor:
    """Put what a weight reads into the reference's coordinates.

    Args:
        weight: the suspect's, ``(out′, in′, *kernel)``, float32.
        count: the reference's inputs.
        inputs: what of the suspect's inputs belongs where.

    Returns:
        ``(out′, count, *kernel)``.
    """
    used = inputs.place >= 0
    kept = weight[:, used] * inputs.factor[used].view(1, -1, *[1] * (weight.dim() - 2))
    made = weight.new_zeros(weight.shape[0], count, *weight.shape[2:])
    return made.index_add_(1, inputs.place[used], kept)


def in_order(weight: Tensor, count: int, outputs: ChannelMap) -> Tensor:
    """Put the rows of a weight into the reference's order, sign and scale.

    Args:
        weight: the suspect's, ``(out′, *)``.
        count: the reference's rows.
        outputs: what of the suspect's rows belongs where.

    Returns:
        ``(count, *)``; rows without a partner are zero.
    """
    rows = weight.new_zeros(count, *weight.shape[1:])
    found = outputs.place >= 0
    factor = outputs.factor[found].view(-1, *[1] * (weight.dim() - 1))
    rows[outputs.place[found]] = weight[found] / factor
    return rows


def require_bound(held: Mapping[str, Tensor], targets: Sequence[Target], whose: str) -> None:
    """Refuse model code without the weights of a claim, though a claimant's file fits it.

    Args:
        held: parameters by name.
        targets: the claim's canonical list.
        whose: how the error calls the model.

    Raises:
        SuspectError: one is missing or has another shape.
    """
    for target in targets:
        if target.weight not in held or tuple(held[target.weight].shape) != target.shape:
            raise SuspectError(
                f"the model code that {whose} fits has no {target.weight} of shape {target.shape}; "
                "give the architecture that the claim is about"
            )
