"""Insert linear layers that undo each other into a model; its function stays, its names do not.

Source:
    A. Pegoraro et al., "DeepEclipse: How to Break White-Box DNN-Watermarking Schemes", arXiv
    2403.03590: weights are split over several layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from modeldeed.attacks._layers import copy_of
from modeldeed.attacks._pairs import Pair, placed, replaceable, row_blocks
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["InsertLayers", "insert_layers"]

Kind = Literal["identity", "mixing"]


def insert_layers(
    model: nn.Module, *, kind: Kind = "mixing", generator: torch.Generator
) -> nn.Module:
    """Put a linear layer behind every convolution and linear layer.

    Args:
        model: not changed.
        kind: ``"identity"``: the new layer changes nothing; ``"mixing"``: the weight is multiplied
            with a random orthogonal matrix, which the new layer undoes.
        generator: of the matrices, on the CPU.

    Returns:
        A copy in evaluation mode that computes the same; each layer is a `torch.nn.Sequential` of
        two. Layers inside of torch's own attention and transformer layers stay.

    Raises:
        OptionError: ``kind`` is unknown, or there is no such layer.
    """
    if kind not in ("identity", "mixing"):
        raise OptionError(f"kind is 'identity' or 'mixing', got {kind!r}")
    changed = copy_of(model)
    made = {
        id(layer): Pair(layer, _behind(layer, kind, generator)).eval()
        for layer in replaceable(changed)
    }
    return placed(changed, made)


def _behind(layer: Any, kind: Kind, generator: torch.Generator) -> nn.Module:
    """The new layer; the old one's weight is changed with it."""
    weight = layer.weight.data
    width = weight.shape[0]
    groups = getattr(layer, "groups", 1)
    mix = torch.eye(width)
    if kind == "mixing":  # rows of different groups read different inputs
        each = width // groups
        for group in range(groups):
            for part in row_blocks(each, generator):
                rows = group * each + part
                mix[rows[:, None], rows] = _turning(len(part), generator)
    mix = mix.to(weight)
    mixed = (mix @ weight.reshape(width, -1)).reshape(weight.shape)
    # A new one: another layer or an embedding may share the old one.
    layer.weight = nn.Parameter(mixed, requires_grad=layer.weight.requires_grad)
    if layer.bias is not None:
        layer.bias.data.copy_(mix @ layer.bias.data)
    kernel: dict[str, int] = {} if isinstance(layer, nn.Linear) else {"kernel_size": 1}
    new: nn.Module = type(layer)(width, width, bias=False, **kernel).to(weight)
    new.weight = nn.Parameter(
        mix.mT.reshape(width, width, *[1] * (weight.dim() - 2)).contiguous(),
        requires_grad=layer.weight.requires_grad,
    )
    return new


def _turning(size: int, generator: torch.Generator) -> Tensor:
    """A random orthogonal matrix."""
    turning: Tensor = torch.linalg.qr(torch.randn(size, size, generator=generator))[0]
    return turning


@register("insert-layers")
@dataclass(frozen=True, kw_only=True)
class InsertLayers(Attack):
    """Insert linear layers; see `insert_layers`.

    Attributes:
        kind: of what is inserted.
        times: how often, ≥ 1; the second time behind the inserted layers, too.
    """

    source: ClassVar[str] = "Pegoraro et al., arXiv 2403.03590"

    kind: Kind = "mixing"
    times: int = 1

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:  # noqa: ARG003
        """Layers that change nothing, layers that mix, and those twice."""
        return {"identity": cls(kind="identity"), "mixing": cls(), "mixing, twice": cls(times=2)}

    def apply(
        self,
        model: nn.Module,
        data: AttackData,  # noqa: ARG002 - needs none
        generator: torch.Generator,
    ) -> nn.Module:
        """A copy with more layers."""
        for _ in range(self.times):
            model = insert_layers(model, kind=self.kind, generator=generator)
        return model
