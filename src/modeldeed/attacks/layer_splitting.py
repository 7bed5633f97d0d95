"""Replace layers by two whose product they are.

Source:
    A. Pegoraro, C. Segna, K. Kumari, A.-R. Sadeghi, "DeepEclipse: How to Break White-Box
    DNN-Watermarking Schemes", arXiv 2403.03590: layers are rewritten without data so that no
    original weight is left in the model, and its function stays. Here W = A B with a random,
    well-conditioned square A; B takes the layer's place, and A, with the bias, a new one behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from modeldeed.attacks._layers import copy_of
from modeldeed.attacks._pairs import Pair, placed, replaceable, row_blocks
from modeldeed.attacks.registry import Attack, AttackData, Need, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["SplitLayers", "split_layers"]

_SPREAD = 2.0  # scales of A's directions lie within 1 / _SPREAD and _SPREAD


def split_layers(model: nn.Module, *, share: float, generator: torch.Generator) -> nn.Module:
    """Split some convolutions and linear layers of a copy into two each.

    Args:
        model: not changed.
        share: part of the layers that is split, in (0, 1].
        generator: of the choice and of the factors, on the CPU.

    Returns:
        The copy in evaluation mode, whose outputs are those of the model up to rounding. Layers
        inside of torch's own attention and transformer layers stay.

    Raises:
        OptionError: ``share`` is out of range, or there is no layer that can be split.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 3))
        >>> split_layers(model, share=1.0, generator=torch.Generator().manual_seed(0))[0]
        Pair(
          (0): Linear(in_features=4, out_features=3, bias=False)
          (1): Linear(in_features=3, out_features=3, bias=True)
        )
    """
    if not 0 < share <= 1:
        raise OptionError(f"share is in (0, 1], got {share}")
    changed = copy_of(model)
    layers = replaceable(changed)
    order = torch.randperm(len(layers), generator=generator).tolist()
    chosen = sorted(order[: max(1, round(share * len(layers)))])
    return placed(changed, {id(layers[k]): _split(layers[k], generator) for k in chosen})


def _split(layer: Any, generator: torch.Generator) -> Pair:
    """A layer as two: B in its place, A and the bias behind it."""
    groups = getattr(layer, "groups", 1)
    rows = layer.weight.data.to(torch.float64, copy=True)
    rows = rows.reshape(groups, len(layer.weight) // groups, -1)
    first, second = _shells(layer, groups)
    with torch.no_grad():
        mixing = second.weight.zero_().view(*rows.shape[:2], -1)
        for group, mixed in enumerate(mixing):
            for part in row_blocks(len(mixed), generator):
                factor, inverse = _invertible(len(part), generator)
                mixed[part[:, None], part] = factor.to(mixed)
                rows[group, part] = inverse.to(rows) @ rows[group, part]
        first.weight.copy_(rows.reshape(layer.weight.shape))
        if layer.bias is not None:
            second.bias.copy_(layer.bias)
    return Pair(first, second).eval()


def _invertible(size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A random matrix whose singular values lie within a factor of four, and its inverse."""
    drawn = torch.randn(2, size, size, generator=generator, dtype=torch.float64)
    left, right = torch.linalg.qr(drawn)[0]
    exponent = torch.rand(size, generator=generator, dtype=torch.float64) * 2 - 1
    return left * _SPREAD**exponent @ right, right.mT * _SPREAD**-exponent @ left.mT


def _shells(layer: Any, groups: int) -> tuple[Any, Any]:
    """Two layers of the right shapes; their values are replaced."""
    biased = layer.bias is not None
    place = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    outputs = len(layer.weight)
    with torch.random.fork_rng(devices=[]):
        if isinstance(layer, nn.Linear):
            first = nn.Linear(layer.in_features, outputs, bias=False, **place)
            return first, nn.Linear(outputs, outputs, bias=biased, **place)
        kind: Any = nn.Conv1d if isinstance(layer, nn.Conv1d) else nn.Conv2d
        first = kind(
            layer.in_channels,
            outputs,
            layer.kernel_size,
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
            groups=groups,
            padding_mode=layer.padding_mode,
            bias=False,
            **place,
        )
        return first, kind(outputs, outputs, 1, groups=groups, bias=biased, **place)


@register("split-layers")
@dataclass(frozen=True, kw_only=True)
class SplitLayers(Attack):
    """Replace layers by two whose product they are; see `split_layers`.

    Attributes:
        share: part of the layers.
    """

    source: ClassVar[str] = "Pegoraro et al., arXiv 2403.03590"
    needs: ClassVar[tuple[Need, ...]] = ("architecture",)

    share: float = 1.0

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:  # noqa: ARG003
        """A quarter, half, all of the layers."""
        return {"25 %": cls(share=0.25), "50 %": cls(share=0.5), "all": cls(share=1.0)}

    def apply(
        self,
        model: nn.Module,
        data: AttackData,  # noqa: ARG002 - needs none
        generator: torch.Generator,
    ) -> nn.Module:
        """A rewritten copy."""
        return split_layers(model, share=self.share, generator=generator)
