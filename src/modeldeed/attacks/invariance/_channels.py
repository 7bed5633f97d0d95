"""Rebuild what writes and reads a space of channels: other order, other number, other factors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvTransposeNd

from modeldeed.attacks.invariance._tracing import Space

__all__ = ["by_channel", "held", "reindexed", "rescaled", "rows_first"]


def rows_first(layer: nn.Module) -> Tensor:
    """A layer's weight with what it writes along the first dimension: a view of its data."""
    weight: Tensor = layer.weight.data  # type: ignore[assignment]
    return weight.transpose(0, 1) if _is_turned(layer) else weight


def _is_turned(layer: nn.Module) -> bool:
    # One that reads each channel by itself holds them along the first dimension, as others do.
    return isinstance(layer, _ConvTransposeNd) and layer.groups == 1


def by_channel(reader: nn.Module, repeat: int) -> Tensor:
    """A reader's weight as ``(out, channels, rest)``.

    One that reads each channel by itself has ``(1, channels, rest)``.
    """
    weight = rows_first(reader)
    if getattr(reader, "groups", 1) > 1:
        return weight.reshape(1, weight.shape[0], -1)
    return weight.reshape(weight.shape[0], weight.shape[1] // repeat, -1)


def held(reader: nn.Module, columns: Tensor) -> Tensor:
    """What `by_channel` gives, of any number of channels, as the layer holds its weight."""
    weight = rows_first(reader)
    if getattr(reader, "groups", 1) > 1:
        return columns.reshape(weight.shape)
    made = columns.reshape(weight.shape[0], -1, *weight.shape[2:])
    return made.transpose(0, 1).contiguous() if _is_turned(reader) else made


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
    for each in space.depthwise:
        _write(each, index)
        between: Any = each
        between.groups = between.in_channels = len(index)
    for reader, repeat in space.readers:
        layer: Any = reader
        columns = by_channel(layer, repeat).index_select(1, index)
        columns = columns * shares.to(columns).view(1, -1, 1)
        layer.weight = _parameter(layer.weight, held(layer, columns))
        name = "in_features" if isinstance(layer, nn.Linear) else "in_channels"
        setattr(layer, name, len(index) * repeat)


def _write(writer: nn.Module, index: Tensor) -> None:
    layer: Any = writer
    for name, old in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
        if old.dim() == 0:
            continue
        new = old.detach().index_select(int(name == "weight" and _is_turned(layer)), index)
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
        rows_first(layer).mul_(scale.view(-1, *[1] * (layer.weight.dim() - 1)))
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
        columns = by_channel(reader, repeat)
        columns = columns / factors.to(columns).view(1, -1, 1)
        reader.weight.data.copy_(held(reader, columns))  # type: ignore[operator]
