"""Imitating the outputs of a model as it was: a loss that needs no labels."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_leaves

__all__ = ["imitation"]

_TEMPERATURE = 4.0


def imitation(outputs: Any, originals: Any) -> Tensor:
    """How far outputs are from the original model's: the loss that needs no labels.

    Args:
        outputs: of a branch; a tensor, or nested.
        originals: of the model before marking, of the same structure.

    Returns:
        A scalar ≥ 0, summed over the floating-point tensors: for shape ``(N, K)`` with K ≥ 2 the
        mean Kullback–Leibler divergence of the classes at temperature 4 (which makes the small
        outputs count), else the mean squared error relative to the original's variance.
    """
    total = torch.zeros(())
    for got, wanted in zip(tree_leaves(outputs), tree_leaves(originals), strict=True):
        if isinstance(got, Tensor) and got.is_floating_point():
            part = _apart(got.float(), wanted.float())
            total = total.to(part.device) + part
    return total


def _apart(got: Tensor, wanted: Tensor) -> Tensor:
    if got.dim() == 2 and got.shape[1] > 1:
        logarithms = F.log_softmax(got / _TEMPERATURE, 1), F.log_softmax(wanted / _TEMPERATURE, 1)
        divergence = F.kl_div(*logarithms, log_target=True, reduction="batchmean")
        return divergence * _TEMPERATURE**2
    return (got - wanted).square().mean() / wanted.var(correction=0).clamp_min(1e-12)
