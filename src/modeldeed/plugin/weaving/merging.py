"""One layer of a target and its thin copy, as one layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from modeldeed.plugin.weaving.freedom import Freedom
from modeldeed.plugin.weaving.layers import grown
from modeldeed.plugin.weaving.operations import Role
from modeldeed.streams import KeyStream

__all__ = ["Merge"]

_UNIT_VARIANCE = math.sqrt(3.0)  # of a uniform number on (−1, 1)


@dataclass(frozen=True)
class Merge:
    """Two layers that shall become one.

    Attributes:
        old: the target's.
        thin: the twin's.
        stream: of the weights that cancel.
        noise: their size, in units of the other weights of their row.
    """

    old: Any
    thin: Any
    stream: KeyStream
    noise: float

    def layer(self, role: Role, into: Freedom, out: Freedom, features: int) -> nn.Module:
        """The layer that does what both do.

        Args:
            role: of the layer.
            into: of the channels that it reads.
            out: of those that it makes.
            features: of a linear layer's input, for each channel.
        """
        new = grown(self.old, len(into) * features, len(out))
        with torch.no_grad():
            if role == "norm":
                self._fill_norm(new, out)
            else:
                weight = self._weight(role, into, out, features)
                new.weight.copy_(weight.reshape(new.weight.shape))
                if new.bias is not None:
                    new.bias.copy_(out.rows(self._stacked("bias")))
        for name, parameter in new.named_parameters():
            parameter.requires_grad_(getattr(self.old, name).requires_grad)
        return new  # type: ignore[no-any-return]

    def _weight(self, role: Role, into: Freedom, out: Freedom, features: int) -> Tensor:
        if role == "depthwise":  # a channel's factor has entered with it
            return self._stacked("weight")[out.source]
        block = self._block(into.old, features)
        size = block.flatten(1).square().sum(1) / (block.flatten(1) != 0).sum(1).clamp_min(1)
        rows = out.rows(block)
        drawn = self.stream.uniform(len(rows), len(into), *rows.shape[2:]).double()
        drawn *= _UNIT_VARIANCE * self.noise
        drawn *= out.rows(size.sqrt()).view(-1, *[1] * (rows.ndim - 1))
        return into.columns(rows, drawn)

    def _block(self, inputs: int, features: int) -> Tensor:
        """Both weights in one, float64 ``(rows, channels, *)``: block-diagonal, or side by side."""
        ours, thin = (layer.weight.detach().double().cpu() for layer in (self.old, self.thin))
        if isinstance(self.old, nn.Linear):
            ours = ours.view(len(ours), -1, features)
            thin = thin.view(len(thin), -1, features)
        if ours.shape[1] == inputs:  # the network's input, which both read
            return torch.cat([ours, thin])
        block: Tensor = ours.new_zeros(len(ours) + len(thin), inputs, *ours.shape[2:])
        block[: len(ours), : ours.shape[1]] = ours
        block[len(ours) :, ours.shape[1] :] = thin
        return block

    def _stacked(self, name: str) -> Tensor:
        parts = [getattr(layer, name).detach().double().cpu() for layer in (self.old, self.thin)]
        return torch.cat(parts)

    def _fill_norm(self, new: Any, out: Freedom) -> None:
        mean, variance = self._stacked("running_mean"), self._stacked("running_var")
        scaled = variance[out.source] * out.scale.square()
        new.running_mean.copy_(out.rows(mean))
        new.running_var.copy_(scaled)
        if new.num_batches_tracked is not None:
            new.num_batches_tracked.copy_(self.old.num_batches_tracked)
        if new.affine:
            # The added eps does not scale, so the weight makes up for it.
            weight = self._stacked("weight") / (variance + new.eps).sqrt()
            new.weight.copy_(weight[out.source] * (scaled + new.eps).sqrt())
            new.bias.copy_(out.rows(self._stacked("bias")))
