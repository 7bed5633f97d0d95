"""Appending triggers to a batch, whatever form it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_flatten_with_path, tree_unflatten

from modeldeed.errors import OptionError
from modeldeed.suspects.answering.preparation import Inputs

__all__ = ["LABELS", "appended", "like_inputs", "like_targets", "with_labels"]

LABELS = "labels"
"""Where a batch without targets of its own holds them, as Hugging Face transformers expect."""
_LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}
_MENDING = "give the triggers prepare=..., a function from canonical integers to such an input"


def like_inputs(inputs: Any, prepared: Inputs, batch_dim: int = 0) -> Any:
    """Prepared triggers in the form of a batch: its structure, devices, dtypes and layout.

    Args:
        inputs: a batch; a tensor, or nested.
        prepared: the triggers, samples first: a tensor for a batch with a single one, otherwise
            a mapping with the names of the batch's.
        batch_dim: dimension of the batch's tensors along which samples lie.

    Returns:
        The batch with every tensor of samples replaced; what belongs to no sample (scalars,
        flags) stays.

    Raises:
        OptionError: structure, shape or dtype of the triggers do not fit the batch.
    """
    leaves, spec = tree_flatten(inputs)
    held = _sample_leaves(inputs, batch_dim)
    if isinstance(prepared, Tensor):
        if len(held) != 1:
            raise OptionError(
                f"the batch has {len(held)} tensors of samples ({_listed(held.values())}), a "
                f"trigger is one; {_MENDING}"
            )
        wanted = dict.fromkeys(held, prepared)
    else:
        if not set(held.values()) <= set(prepared):
            raise OptionError(
                f"a batch has {_listed(held.values())}, a trigger {_listed(prepared)}; {_MENDING}"
            )
        wanted = {at: prepared[name] for at, name in held.items()}
    for at, tensor in wanted.items():
        leaves[at] = _like(leaves[at], tensor, batch_dim, held[at])
    return tree_unflatten(leaves, spec)


def like_targets(targets: Any, labels: Tensor, classes: int, target_dim: int = 0) -> Tensor:
    """Labels in the form of a batch's targets.

    Args:
        targets: classes ``(N,)``, integers, or their shares ``(N, K)``, floating point.
        labels: int64 ``(M,)``.
        classes: K.
        target_dim: dimension of the targets along which samples lie.

    Returns:
        Targets of M samples with the dtype and device of ``targets``.

    Raises:
        OptionError: the targets have another form.
    """
    if not isinstance(targets, Tensor):
        raise OptionError(
            f"triggers need targets that are a tensor, got a {type(targets).__name__}"
        )
    if not targets.is_floating_point() and targets.dim() == 1 and target_dim == 0:
        return labels.to(targets.device, targets.dtype)
    if targets.is_floating_point() and targets.dim() == 2 and target_dim < 2:
        if targets.shape[1 - target_dim] != classes:
            raise OptionError(
                f"the targets {tuple(targets.shape)} are shares of {targets.shape[1 - target_dim]} "
                f"classes, the triggers were issued for {classes}"
            )
        shares = F.one_hot(labels, classes).to(targets.device, targets.dtype)
        return shares if target_dim == 0 else shares.T
    raise OptionError(
        f"triggers are for targets that are classes (N,) or their shares (N, {classes}), got "
        f"{targets.dtype} of shape {tuple(targets.shape)}; append triggers yourself: see "
        "TriggerSet.prepared and TriggerSet.labels"
    )


def with_labels(prepared: Inputs, labels: Tensor) -> Inputs:
    """Prepared triggers that hold their labels, for a host that computes its own loss.

    Raises:
        OptionError: they are no mapping.
    """
    if not isinstance(prepared, Mapping):
        raise OptionError(
            "without targets, a batch is a mapping that holds 'labels', and triggers are one of "
            f"the same names; {_MENDING}"
        )
    return {**prepared, LABELS: labels}


def appended(batch: Any, more: Any, dim: int = 0) -> Any:
    """Join two batches of one form, tensor by tensor.

    Args:
        batch: a tensor, or nested.
        more: what `like_inputs` or `like_targets` made of it.
        dim: dimension along which samples lie.

    Returns:
        A new batch; what belongs to no sample is that of ``batch``.
    """
    first, spec = tree_flatten(batch)
    second, _ = tree_flatten(more)
    return tree_unflatten(
        [
            torch.cat([one, two], dim) if _holds_samples(one, dim) else one
            for one, two in zip(first, second, strict=True)
        ],
        spec,
    )


def _sample_leaves(inputs: Any, dim: int) -> dict[int, str]:
    """Place and name of every leaf that holds samples."""
    named, _ = tree_flatten_with_path(inputs)
    return {
        place: ".".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path)
        for place, (path, leaf) in enumerate(named)
        if _holds_samples(leaf, dim)
    }


def _holds_samples(leaf: Any, dim: int) -> bool:
    return isinstance(leaf, Tensor) and leaf.dim() > dim


def _like(leaf: Tensor, tensor: Tensor, dim: int, name: str) -> Tensor:
    """A tensor of triggers, samples first, as one of a batch."""
    where = f"the batch's {name!r}" if name else "the batch"
    moved = tensor.movedim(0, dim) if tensor.dim() > dim else tensor
    ours, theirs = list(moved.shape), list(leaf.shape)
    if len(ours) != len(theirs) or ours[:dim] + ours[dim + 1 :] != theirs[:dim] + theirs[dim + 1 :]:
        raise OptionError(
            f"{where} has shape {tuple(theirs)}, triggers {tuple(ours)}; they may differ in the "
            f"number of samples (dimension {dim}) alone; {_MENDING}"
        )
    if moved.is_floating_point() != leaf.is_floating_point():
        raise OptionError(
            f"{where} is {leaf.dtype}, triggers are {tensor.dtype}, which may be another scale; "
            f"{_MENDING}"
        )
    moved = moved.to(leaf.device, leaf.dtype)
    layout = _LAYOUTS.get(leaf.dim())
    if layout and leaf.is_contiguous(memory_format=layout) and not leaf.is_contiguous():
        return moved.contiguous(memory_format=layout)
    return moved


def _listed(names: Any) -> str:
    return ", ".join(map(repr, sorted(names))) or "no tensor of samples"
