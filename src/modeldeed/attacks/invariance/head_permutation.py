"""Reorder a transformer's attention heads and hidden units, mix channels in heads; function stays.

Heads that share keys and values move together, and within what they share. Inside of a head values
can be multiplied with any orthogonal matrix that the output layer undoes; queries and keys too, but
behind rotary positions only pair by pair.

Source:
    This project; hidden units after Y. Yan et al., "Cracking White-box DNN Watermarks via
    Invariant Neuron Transforms", arXiv 2205.00199; values after S. Ashkboos et al., "QuaRot",
    NeurIPS 2024, arXiv 2404.00456.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from modeldeed.attacks._layers import copy_of
from modeldeed.attacks.invariance._blocks import (
    Attention,
    Block,
    Rows,
    blocks_of,
    example_like,
    require_same,
)
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.training import Recipe

__all__ = ["PermuteHeads", "permute_heads"]


def permute_heads(
    model: nn.Module,
    example: Tensor,
    *,
    hidden: bool = True,
    values: bool = True,
    queries: bool = False,
    generator: torch.Generator,
) -> nn.Module:
    """Reorder the heads of every attention, and what else is asked for.

    Args:
        model: not changed.
        example: an input; outputs for it are compared.
        hidden: reorder hidden units too.
        values: rotate the values inside of each head.
        queries: rotate queries and keys inside of each head, behind rotary positions pair by pair;
            attention that normalizes them is left out.
        generator: of everything random, on the CPU.

    Returns:
        A copy in evaluation mode that computes the same.

    Raises:
        OptionError: the model has no blocks of a known form: Llama and what is built like it, ViT,
            PyTorch's own encoder layers.
    """
    changed = copy_of(model)
    for block in blocks_of(changed):
        attention = block.attention
        _reorder_heads(attention, generator)
        if values:
            _mix_values(attention, generator)
        if queries:
            _mix_queries(attention, generator)
        if hidden:
            _reorder_hidden(block, generator)
    require_same(model, changed, example)
    return changed


def _reorder_heads(attention: Attention, generator: torch.Generator) -> None:
    """Shared heads in any order, and in any order those that share one."""
    share = attention.heads // attention.shared
    groups = torch.randperm(attention.shared, generator=generator)
    inside = torch.stack(
        [torch.randperm(share, generator=generator) for _ in range(attention.shared)]
    )
    heads = (groups[:, None] * share + inside).flatten()
    for part, order in ((attention.query, heads), (attention.key, groups),
                        (attention.value, groups)):  # fmt: skip
        _take_rows(part, _by_head(order, part.weight.shape[0] // len(order)))
    width = attention.out.weight.shape[1] // attention.heads
    _take_columns(attention.out, _by_head(heads, width))


def _by_head(order: Tensor, width: int) -> Tensor:
    return (order[:, None] * width + torch.arange(width)).flatten()


def _take_rows(part: Rows, index: Tensor) -> None:
    index = index.to(part.weight.device)
    part.weight.copy_(part.weight[index])
    if part.bias is not None:
        part.bias.copy_(part.bias[index])


def _take_columns(part: Rows, index: Tensor) -> None:
    part.weight.copy_(part.weight[:, index.to(part.weight.device)])


def _mix_values(attention: Attention, generator: torch.Generator) -> None:
    width = attention.value.weight.shape[0] // attention.shared
    parts = [_rotation(width, generator) for _ in range(attention.shared)]
    attention.value.turned(_diagonal(parts))
    attention.out.reads(_diagonal(_shared(parts, attention)).mT)


def _mix_queries(attention: Attention, generator: torch.Generator) -> None:
    width = attention.key.weight.shape[0] // attention.shared
    if attention.free:
        parts = [_rotation(width, generator) for _ in range(attention.shared)]
    elif attention.rotary:
        parts = [_turning_pairs(width, generator) for _ in range(attention.shared)]
    else:
        return
    attention.key.turned(_diagonal(parts))
    attention.query.turned(_diagonal(_shared(parts, attention)))


def _shared(parts: list[Tensor], attention: Attention) -> list[Tensor]:
    return [part for part in parts for _ in range(attention.heads // attention.shared)]


def _diagonal(parts: list[Tensor]) -> Tensor:
    whole: Tensor = torch.block_diag(*parts)  # type: ignore[no-untyped-call]
    return whole


def _rotation(size: int, generator: torch.Generator) -> Tensor:
    noise = torch.randn(size, size, generator=generator, dtype=torch.float64)
    mixing: Tensor = torch.linalg.qr(noise).Q
    return mixing


def _turning_pairs(size: int, generator: torch.Generator) -> Tensor:
    """Rotations in the planes in which rotary positions turn: channels k and k + size / 2."""
    angle = 2 * torch.pi * torch.rand(size // 2, generator=generator, dtype=torch.float64)
    cosine, sine = angle.cos().diag(), angle.sin().diag()
    return torch.cat([torch.cat([cosine, -sine], 1), torch.cat([sine, cosine], 1)])


def _reorder_hidden(block: Block, generator: torch.Generator) -> None:
    order = torch.randperm(block.down.weight.shape[1], generator=generator)
    for part in block.hidden:
        _take_rows(part, order)
    _take_columns(block.down, order)


@register("permute-heads")
@dataclass(frozen=True, kw_only=True)
class PermuteHeads(Attack):
    """Reorder a transformer's heads and hidden units, and mix channels in heads.

    Attributes:
        hidden: reorder hidden units.
        values: rotate values inside of heads.
        queries: rotate queries and keys inside of heads.
    """

    source: ClassVar[str] = "This project; Yan et al., arXiv 2205.00199"

    hidden: bool = True
    values: bool = True
    queries: bool = False

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:  # noqa: ARG003
        """What is changed beside the order of heads."""
        return {
            "heads": cls(hidden=False, values=False),
            "heads, hidden units": cls(values=False),
            "and values mixed": cls(),
            "and queries mixed": cls(queries=True),
        }

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """A copy with another order."""
        return permute_heads(
            model, example_like(data.dataset.x_train), hidden=self.hidden, values=self.values,
            queries=self.queries, generator=generator,
        )  # fmt: skip
