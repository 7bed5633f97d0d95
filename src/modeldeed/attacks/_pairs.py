"""Two layers in the place of one: what takes its place, where that goes, and what mixes channels.

Code around a layer may read its weight, if only for its number format, as transformers' ViT does.
So a pair has a weight and a bias as well: those of the one layer that computes the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from modeldeed.attacks._layers import weighted_layers
from modeldeed.errors import OptionError

__all__ = ["Pair", "placed", "replaceable", "row_blocks"]

# Torch's own code hands the weights inside of these to a fused kernel.
_READERS = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
# A matrix over 4,096 channels takes a minute to draw; mixed in blocks no row is left either.
_WIDEST = 256


class Pair(nn.Sequential):
    """A layer, and behind it one that mixes its output channels.

    Args:
        first: a convolution or linear layer, or a pair.
        second: a linear layer, a convolution of size 1, or a pair of such.
    """

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__(first, second)

    def _mixed(self, rows: Tensor) -> Tensor:
        """What the second layer makes of rows, ``(out, …)``."""
        mixing: Any = self[1].weight
        outputs, width = len(mixing), mixing.shape[1]
        blocks = mixing.reshape(outputs // width, width, width)
        mixed: Tensor = blocks @ rows.reshape(len(blocks), width, -1)
        return mixed.reshape(rows.shape)

    @property
    def weight(self) -> Tensor:
        """Of the one layer that computes the same; computed anew at every look."""
        return self._mixed(self[0].weight)  # type: ignore[arg-type]

    @property
    def bias(self) -> Tensor | None:
        """Of the one layer that computes the same; None for none."""
        inner: Any = self[0].bias
        outer: Any = self[1].bias
        if inner is None:
            return None if outer is None else +outer
        return self._mixed(inner) if outer is None else self._mixed(inner) + outer


def replaceable(model: nn.Module) -> list[Any]:
    """The convolutions and linear layers that a pair can stand for, in the model's order.

    Args:
        model: what is attacked.

    Raises:
        OptionError: there are none: torch's own attention and transformer layers keep theirs.
    """
    readers = [module for module in model.modules() if isinstance(module, _READERS)]
    kept = {id(child) for reader in readers for child in reader.modules()}
    layers = [layer for _, layer in weighted_layers(model) if id(layer) not in kept]
    if not layers:
        raise OptionError(
            f"{type(model).__name__} has no layer that can be split in two; those inside of "
            "torch's own attention cannot, but permute-heads and rotate-residual rewrite them"
        )
    return layers


def placed(model: nn.Module, replaced: Mapping[int, nn.Module]) -> nn.Module:
    """Put modules in the place of others.

    Args:
        model: changed in place.
        replaced: what comes, by the identity of what goes.

    Returns:
        The model in evaluation mode, or what takes its place.
    """
    if id(model) in replaced:
        return replaced[id(model)]
    for parent in list(model.modules()):
        if any(parent is new for new in replaced.values()):
            continue  # it holds what it stands for
        for name, child in list(parent._modules.items()):  # a shared layer stands in it twice
            if child is not None and id(child) in replaced:
                setattr(parent, name, replaced[id(child)])
    return model.eval()


def row_blocks(size: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Output channels that are mixed with each other: all of them or, of many, random blocks.

    Args:
        size: channels.
        generator: of the blocks, on the CPU.

    Returns:
        Their indices, int64, each once.
    """
    if size <= _WIDEST:
        return (torch.arange(size),)
    order = torch.randperm(size, generator=generator)
    return tuple(order[first : first + _WIDEST] for first in range(0, size, _WIDEST))
