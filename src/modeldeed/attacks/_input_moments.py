"""What the inputs of layers are like: means and covariances of the vectors that rows meet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed.attacks._layers import chunks

__all__ = ["KINDS", "Moments", "measured"]

KINDS = (nn.Conv1d, nn.Conv2d, nn.Linear)
"""The layers whose inputs are looked at."""


@dataclass
class Moments:
    """Sums over a layer's inputs, by group: of vectors ``(G, D)``, of products ``(G, D, D)``."""

    count: int
    sums: Tensor
    products: Tensor

    @classmethod
    def like(cls, vectors: Tensor) -> Moments:
        """None yet, for vectors of shape ``(G, D, n)``."""
        groups, width, _ = vectors.shape
        sums = vectors.new_zeros(groups, width, dtype=torch.float64)
        return cls(0, sums, sums.new_zeros(groups, width, width))

    def add(self, vectors: Tensor) -> None:
        """Count some vectors of shape ``(G, D, n)``."""
        self.count += vectors.shape[-1]
        self.sums += vectors.sum(-1, dtype=torch.float64)
        self.products += (vectors @ vectors.mT).double()

    def mean(self) -> Tensor:
        """Shape ``(G, D)``."""
        return self.sums / self.count

    def covariance(self) -> Tensor:
        """Centered, shape ``(G, D, D)``."""
        mean = self.mean()
        return self.products / self.count - mean[:, :, None] * mean[:, None, :]


def measured(
    model: nn.Module, layers: list[tuple[str, Any]], calibration: Tensor
) -> list[tuple[Any, Moments]]:
    """Each layer that ran, with the moments of its inputs; a shared weight has those of all."""
    moments: dict[int, Moments] = {}

    def watch(module: Any, inputs: tuple[Tensor, ...]) -> None:
        vectors = _vectors(module, inputs[0].detach().float())
        key = id(module.weight)
        if key not in moments:
            moments[key] = Moments.like(vectors)
        moments[key].add(vectors)

    hooks = [
        module.register_forward_pre_hook(watch)
        for module in model.modules()
        if isinstance(module, KINDS)
    ]
    try:
        with torch.no_grad():
            for piece in chunks(calibration):
                model(piece)
    finally:
        for hook in hooks:
            hook.remove()
    return [(m, moments[id(m.weight)]) for _, m in layers if id(m.weight) in moments]


def _vectors(module: Any, x: Tensor) -> Tensor:
    """The vectors a layer's rows are multiplied with, ``(G, D, n)``."""
    if isinstance(module, nn.Linear):
        return x.reshape(1, -1, x.shape[-1]).mT
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    padded = F.pad(x, module._reversed_padding_repeated_twice, mode=mode)
    reach, apart, stride = module.kernel_size, module.dilation, module.stride
    if isinstance(module, nn.Conv1d):  # a picture one pixel high
        padded = padded[:, :, None]
        reach, apart, stride = (1, *reach), (1, *apart), (1, *stride)
    patches = F.unfold(padded, reach, dilation=apart, stride=stride)
    samples, width, positions = patches.shape
    grouped = patches.reshape(samples, module.groups, width // module.groups, positions)
    return grouped.permute(1, 2, 0, 3).flatten(2)
