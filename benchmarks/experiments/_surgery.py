"""The attempts to separate a detector from its target, in the order of what they cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, fx, nn

from modeldeed.attacks import prune
from modeldeed.plugin.weaving.separation import (
    cut_outputs,
    drop_sparse,
    drop_unconnected,
    merge_copies,
    remove_inactive,
    remove_silent,
    remove_without_effect,
    remove_without_gradient,
    straighten,
)

__all__ = ["Attack", "attacks"]

_FEW = 128
_TOLERANCE = 0.01


@dataclass(frozen=True)
class Attack:
    """One attempt.

    Attributes:
        name: in words.
        apply: model, benign inputs -> a changed model, or None where there is nothing to change.
    """

    name: str
    apply: Callable[[Any, Tensor], nn.Module | None]


def attacks(classes: int, *, plain: bool) -> list[Attack]:
    """All attempts on one form.

    Args:
        classes: K.
        plain: whether the detector is a branch, so that its channels need no search.
    """
    found = [Attack("graph search", cut_outputs)]
    if not plain:
        found += [
            Attack("zero blocks", lambda m, x: drop_unconnected(m, x[:2], classes)),
            Attack(
                "zero blocks, tolerance 1 %",
                lambda m, x: drop_unconnected(m, x[:2], classes, _TOLERANCE),
            ),
            Attack("rows with zeros", lambda m, x: drop_sparse(m, x[:2])),
            Attack("copies merged, zero blocks", partial(_merged_zero, classes)),
            Attack("copies merged, no gradient", _merged_gradient),
            Attack("units that never switch", straighten),
        ]
    found += [
        Attack("silent channels", remove_silent),
        Attack("channels without gradient", remove_without_gradient),
    ]
    shares = (0.05, 0.1, 0.2, 0.3)
    found += [Attack(f"inactive channels, {s:.0%}", _inactive(s)) for s in shares]
    found += [
        Attack(f"smallest weights, {tenths * 10} %", _pruned(tenths / 10))
        for tenths in range(1, 10)
    ]
    found.append(Attack("channels without effect", remove_without_effect))
    return found


def _inactive(share: float) -> Callable[[nn.Module, Tensor], nn.Module]:
    return lambda model, benign: remove_inactive(model, benign, share)


def _pruned(share: float) -> Callable[[nn.Module, Tensor], nn.Module]:
    return lambda model, _: prune(model, share=share)


def _merged_zero(classes: int, model: fx.GraphModule, benign: Tensor) -> nn.Module | None:
    merged = merge_copies(model, benign[:_FEW])
    return merged and drop_unconnected(merged, benign[:2], classes, _TOLERANCE)


def _merged_gradient(model: fx.GraphModule, benign: Tensor) -> nn.Module | None:
    merged = merge_copies(model, benign[:_FEW])
    return merged and remove_without_gradient(merged, benign)
