"""PyTorch's own normalization layers, through the functional operators that they call themselves.

So the private branch costs no extra pass over the activations.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed.passport.norms.own_forward import run_own_forward
from modeldeed.passport.norms.registry import RunningStatistics, register_norm

__all__: list[str] = []


def _num_features(norm: Any) -> int:
    return int(norm.num_features)


def _last_dimension(norm: Any) -> int | str:
    if len(norm.normalized_shape) != 1:
        return (
            f"it normalizes over {len(norm.normalized_shape)} dimensions "
            f"{tuple(norm.normalized_shape)}: its scale has no channel dimension"
        )
    return int(norm.normalized_shape[0])


@register_norm("batch", nn.BatchNorm1d, channels=_num_features)
@register_norm("batch", nn.BatchNorm2d, channels=_num_features)
@register_norm("batch", nn.BatchNorm3d, channels=_num_features)
def _batch(
    norm: Any,
    x: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    statistics: RunningStatistics | None,
) -> Tensor:
    if statistics is None:
        return F.batch_norm(x, None, None, scale, bias, True, 0.0, norm.eps)
    weight = statistics.next_weight() if norm.training else 0.0
    return F.batch_norm(
        x, statistics.mean, statistics.var, scale, bias, norm.training, weight, norm.eps
    )


@register_norm("batch", nn.SyncBatchNorm, channels=_num_features)
def _synchronized_batch(
    norm: Any,
    x: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    statistics: RunningStatistics | None,
) -> Tensor:
    # Whether and with whom statistics are shared is decided by the layer itself: a plain
    # F.batch_norm would give every process its own.
    return run_own_forward(norm, x, scale, bias, statistics)


@register_norm("instance", nn.InstanceNorm1d, channels=_num_features)
@register_norm("instance", nn.InstanceNorm2d, channels=_num_features)
@register_norm("instance", nn.InstanceNorm3d, channels=_num_features)
def _instance(
    norm: Any,
    x: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    statistics: RunningStatistics | None,
) -> Tensor:
    unbatched = x.dim() == norm._get_no_batch_dim()
    batch = x.unsqueeze(0) if unbatched else x
    if statistics is None:
        y = F.instance_norm(batch, None, None, scale, bias, True, 0.0, norm.eps)
    else:
        weight = statistics.next_weight() if norm.training else 0.0
        y = F.instance_norm(
            batch, statistics.mean, statistics.var, scale, bias, norm.training, weight, norm.eps
        )
    return y.squeeze(0) if unbatched else y


@register_norm("group", nn.GroupNorm, channels=lambda norm: int(norm.num_channels))
def _group(
    norm: Any,
    x: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    statistics: RunningStatistics | None,  # noqa: ARG001 - one signature for all kinds
) -> Tensor:
    return F.group_norm(x, norm.num_groups, scale, bias, norm.eps)


@register_norm("layer", nn.LayerNorm, channels=_last_dimension)
def _layer(
    norm: Any,
    x: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    statistics: RunningStatistics | None,  # noqa: ARG001 - one signature for all kinds
) -> Tensor:
    return F.layer_norm(x, norm.normalized_shape, scale, bias, norm.eps)


@register_norm("rms", nn.RMSNorm, channels=_last_dimension)
def _rms(
    norm: Any,
    x: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    statistics: RunningStatistics | None,  # noqa: ARG001 - one signature for all kinds
) -> Tensor:
    # The layer has no bias of its own; the private branch adds one.
    y = F.rms_norm(x, norm.normalized_shape, scale, norm.eps)
    return y if bias is None else y + bias
