"""Convolutions of each channel by itself: a row that reads a silent channel is told by its kernel.

A channel that is silent on all probes is told by the columns that read it, which takes rows that
are told already. Where each row reads one channel, the row of a silent one cannot be.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from modeldeed.alignment.maps import ChannelMap, rows_assigned
from modeldeed.alignment.recording import Operation

__all__ = ["is_depthwise", "with_silent_kernels"]


def is_depthwise(operation: Operation) -> bool:
    """Whether each channel is read by the one row of the same number."""
    weight = operation.weight
    return operation.groups > 1 and operation.groups == len(weight) and weight.shape[1] == 1


def with_silent_kernels(
    inputs: ChannelMap,
    wanted: Operation,
    other: Operation,
    rows: Tensor,
    kept: Tensor,
    directions: Tensor | None = None,
) -> ChannelMap:
    """Places for channels that are silent in both, by the kernels that read them.

    Args:
        inputs: of all other channels.
        wanted: the reference's operation, depthwise.
        other: the suspect's, depthwise as well.
        rows: the reference's, its passports taken out, ``(C, 1, *kernel)``.
        kept: what of their lengths is left, ``(C,)``.
        directions: of the passports, ``(2, C, 1, *kernel)``; None if rows carry none.

    Returns:
        The map; how loud such a channel is and of what sign stays to the row that reads it.
    """
    ours = torch.nonzero(~wanted.inputs.any(0)).flatten()
    theirs = torch.nonzero(~other.inputs.any(0) & (inputs.place < 0)).flatten()
    if not len(ours) or not len(theirs):
        return inputs
    found = rows_assigned(
        rows[ours].flatten(1),
        other.weight[theirs].float().flatten(1),
        kept[ours],
        None if directions is None else directions[:, ours].flatten(2),
    )
    known = found.place >= 0
    place, factor = inputs.place.clone(), inputs.factor.clone()
    place[theirs[known]] = ours[found.place[known]]
    factor[theirs[known]] = 1.0
    return replace(inputs, place=place, factor=factor)
