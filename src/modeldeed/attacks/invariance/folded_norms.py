"""Fold batch norms into the weights before them, as every exporter does; the function stays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from modeldeed.attacks._layers import copy_of
from modeldeed.attacks.invariance._channels import rows_first
from modeldeed.attacks.invariance._tracing import Space, spaces_of
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["FoldNorms", "fold_norms"]


def fold_norms(model: nn.Module, example: Tensor, *, share: float = 1.0) -> nn.Module:
    """Fold every batch norm that alone reads the output of one weight.

    Args:
        model: not changed.
        example: an input; a small batch is enough.
        share: of these norms, the first ones, in (0, 1].

    Returns:
        A copy in evaluation mode that computes the same, with `torch.nn.Identity` in the place of
        the folded norms.

    Raises:
        OptionError: ``share`` is out of range, or there is no such norm.
    """
    if not 0 < share <= 1:
        raise OptionError(f"share is in (0, 1], got {share}")
    changed = copy_of(model)
    alone = [
        space
        for space in spaces_of(changed, example, parted=True)
        if len(space.writers) == len(space.norms) == 1
        and not (space.readers or isinstance(space.writers[0], _BatchNorm))
        and space.linear
    ]
    folded: set[nn.Module] = set()
    for space in alone[: math.ceil(share * len(alone))]:
        _fold(space.writers[0], space)
        folded.update(space.norms)
    if not folded:
        raise OptionError(f"{type(model).__name__} has no batch norm right behind a weight")
    for parent in list(changed.modules()):
        for name, child in list(parent.named_children()):
            if child in folded:
                setattr(parent, name, nn.Identity())
    return changed.eval()


def _fold(writer: Any, space: Space) -> None:
    norm: Any = space.norms[0]
    scale = torch.rsqrt(norm.running_var + norm.eps)
    shift = -norm.running_mean * scale
    if norm.affine:
        scale = scale * norm.weight.data
        shift = shift * norm.weight.data + norm.bias.data
    if writer.bias is not None:
        shift = shift + scale * writer.bias.data
    weight = rows_first(writer)
    weight.mul_(scale.view(-1, *[1] * (weight.dim() - 1)))
    writer.bias = nn.Parameter(shift.clone(), requires_grad=writer.weight.requires_grad)


@register("fold-norms")
@dataclass(frozen=True, kw_only=True)
class FoldNorms(Attack):
    """Fold batch norms; see `fold_norms`.

    Attributes:
        share: of them, in (0, 1].
    """

    source: ClassVar[str] = "What every exporter does"

    share: float = 1.0

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:  # noqa: ARG003
        """Shares of the norms."""
        return {"a third": cls(share=1 / 3), "two thirds": cls(share=2 / 3), "all": cls()}

    def apply(
        self,
        model: nn.Module,
        data: AttackData,
        generator: torch.Generator,  # noqa: ARG002 - draws nothing
    ) -> nn.Module:
        """A copy without norms."""
        return fold_norms(model, torch.zeros_like(data.dataset.x_train[:2]), share=self.share)
