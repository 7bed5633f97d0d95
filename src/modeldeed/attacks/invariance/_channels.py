"""Rebuild what writes and reads a space of channels: other order, other number, other factors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from modeldeed.attacks.invariance._tracing import Space

__all__ = ["by_channel", "reindexed", "rescaled"]


def by_channel(reader: nn.Module, repeat: int) -> Tensor:
    """A reader's weight as ``(out, channels, rest)``: a view."""
    weight: Tensor = reader.weight.data  # type: ignore[assignment]
    return weight.contiguous().view(weight.shape[0], weight.shape[1] // repeat, -1)


def reindexed(space: Space, index: Tensor, shares: Tensor) -> None:
    """Make channel k what channel ``index[k]`` was; its readers' columns times ``shares[k]``.

    Args:
        space: its layers are changed in place.
        index: of the new channels, int64 ``(C′,)``.
        shares: factors, ``(C′,)``.
    """
    for writer in space.writers:
        _write(writer, index)
    for norm in space.norms:
        _write(norm, index)
    for reader, repeat in space.readers:
        layer: Any = reader
        view = by_channel(layer, repeat).index_select(1, index)
        view = view * shares.to(view).view(1, -1, 1)
        shape = list(layer.weight.shape)
        shape[1] = len(index) * repeat
        layer.weight = _parameter(layer.weight, view.reshape(shape))
        setattr(layer, "in_features" if isinstance(layer, nn.Linear) else "in_channels", shape[1])


def _write(writer: nn.Module, index: Tensor) -> None:
    layer: Any = writer
    for name, old in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
        if old.dim() == 0:
            continue
        new = old.detach().index_select(0, index)
        setattr(layer, name, _parameter(old, new) if isinstance(old, nn.Parameter) else new)
    if isinstance(layer, _BatchNorm):
        layer.num_features = len(index)
    else:
        out = "out_features" if isinstance(layer, nn.Linear) else "out_channels"
        setattr(layer, out, len(index))


def _parameter(old: Any, new: Tensor) -> nn.Parameter:
    channels_last = old.dim() == 4 and old.is_contiguous(memory_format=torch.channels_last)
    if channels_last:
        new = new.contiguous(memory_format=torch.channels_last)
    return nn.Parameter(new, requires_grad=old.requires_grad)


def rescaled(space: Space, factors: Tensor) -> None:
    """Multiply channels with factors where they are written, and divide where they are read.

    Args:
        space: of a trace in which norms part spaces; changed in place.
        factors: ``(C,)``, positive unless the space is linear.
    """
    for writer in space.writers:
        layer: Any = writer
        scale = factors.to(layer.weight)
        layer.weight.data.mul_(scale.view(-1, *[1] * (layer.weight.dim() - 1)))
        if layer.bias is not None:
            layer.bias.data.mul_(scale)
    for norm in space.norms:
        absorbing: Any = norm
        scale = factors.to(absorbing.running_mean)
        absorbing.running_mean.mul_(scale)
        # The norm divides by the root of the variance plus ε: so this stays exact.
        absorbing.running_var.add_(norm.eps).mul_(scale.square()).sub_(norm.eps)
        if absorbing.affine:
            absorbing.weight.data.mul_(scale.sign())
    for reader, repeat in space.readers:
        view = by_channel(reader, repeat)
        view = view / factors.to(view).view(1, -1, 1)
        reader.weight.data.copy_(view.reshape(reader.weight.shape))  # type: ignore[operator,arg-type]
