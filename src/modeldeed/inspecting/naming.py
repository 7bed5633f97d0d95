"""Which of a suspect's tensors is which of the reference's: by name, and else by values."""

from __future__ import annotations

from collections import defaultdict

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from modeldeed.anchor import Target
from modeldeed.suspects import Weights
from modeldeed.suspects.restored import restore

__all__ = ["named_alike", "weight_names", "weight_of"]

_POINTS = 65


def weight_names(weights: Weights) -> list[str]:
    """Tensors that are looked at as layers: of two dimensions or more, and not empty."""
    found = [n for n in weights.names() if len(weights.shape(n)) > 1 and 0 not in weights.shape(n)]
    return [n for n in found if weights.tensor(n).is_floating_point()]


def weight_of(tensor: Tensor) -> Tensor:
    """A weight as ``(rows, columns, rest)``, float32; what is no number is zero."""
    found = torch.nan_to_num(tensor.detach().float(), posinf=0.0, neginf=0.0)
    return found.reshape(found.shape[0], found.shape[1], -1).contiguous()


def named_alike(suspect: Weights, reference: Weights) -> tuple[Weights, dict[str, str], str]:
    """Find the suspect's counterpart of each of the reference's tensors.

    What wrappers put before names is removed, and integers with a scale beside them are multiplied,
    as for a direct reading (`modeldeed.suspects.restored.restore`). Weights whose names are gone
    are given to those of the same shape whose sorted magnitudes are most alike.

    Args:
        suspect: opened.
        reference: opened.

    Returns:
        The suspect under the names that it then has; its names by those of the reference; and
        what was removed from all names.
    """
    layers = weight_names(reference)
    targets = [
        Target(norm=name, kind="any", channels=reference.shape(name)[0], affine=None, weight=name,
               shape=reference.shape(name), axis=0, side="rows")
        for name in layers
    ]  # fmt: skip
    restored = restore(suspect, targets)
    there = set(restored.names())
    names = {name: name for name in reference.names() if name in there}
    lost = [name for name in layers if name not in names]
    left = [name for name in weight_names(restored) if name not in set(reference.names())]
    names.update(_by_form(reference, lost, restored, left))
    return restored, names, restored.prefix


def _by_form(
    reference: Weights, lost: list[str], suspect: Weights, left: list[str]
) -> dict[str, str]:
    groups: dict[tuple[int, ...], tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for name in lost:
        groups[reference.shape(name)][0].append(name)
    for name in left:
        groups[suspect.shape(name)][1].append(name)
    found = {}
    for ours, theirs in groups.values():
        if not ours or not theirs:
            continue
        one, two = (
            torch.stack([_form(weights.tensor(name)) for name in names])
            for weights, names in ((reference, ours), (suspect, theirs))
        )
        pairs = linear_sum_assignment(torch.cdist(one, two).numpy())
        found.update({ours[row]: theirs[column] for row, column in zip(*pairs, strict=True)})
    return found


def _form(tensor: Tensor) -> Tensor:
    """Quantiles of the magnitudes: the same in whatever order they stand."""
    sizes = weight_of(tensor).abs().flatten().sort().values
    return sizes[torch.linspace(0, len(sizes) - 1, _POINTS).long()]
