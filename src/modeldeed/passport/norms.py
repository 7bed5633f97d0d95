"""The normalization layers that can carry a passport, by kind.

A kind tells how many channels a layer has and how to run it with another scale and bias: through
the same functional operator that the layer itself calls, so the private branch costs no extra
pass over the activations. `register_norm` adds kinds.

Shape:
    Input and output of every layer: as documented by PyTorch for that layer; scale and bias have
    shape ``(C,)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed.errors import OptionError

__all__ = ["NormKind", "RunningStatistics", "kind_of", "register_norm", "tracks_statistics"]


@dataclass
class RunningStatistics:
    """Batch statistics of the private branch, kept apart from the host's.

    Attributes:
        mean: running mean, shape ``(C,)``.
        var: running variance, shape ``(C,)``.
        count: batches seen.
        momentum: weight of the newest batch; None averages all batches alike.
    """

    mean: Tensor
    var: Tensor
    count: int
    momentum: float | None

    @classmethod
    def like(cls, norm: nn.Module) -> RunningStatistics:
        """Fresh statistics (mean 0, variance 1) for a layer that tracks them."""
        mean = norm.get_buffer("running_mean")
        momentum: Any = getattr(norm, "momentum", None)
        return cls(torch.zeros_like(mean), torch.ones_like(mean), 0, momentum)

    def to(self, device: torch.device) -> None:
        """Move in place to a device."""
        self.mean, self.var = self.mean.to(device), self.var.to(device)

    def next_weight(self) -> float:
        """Count one more batch and return the weight it gets."""
        self.count += 1
        return 1.0 / self.count if self.momentum is None else self.momentum


Apply = Callable[[Any, Tensor, Tensor | None, Tensor | None, RunningStatistics | None], Tensor]


@dataclass(frozen=True)
class NormKind:
    """One kind of normalization layer.

    Attributes:
        name: how plans and anchors call it.
        module: the class it is registered for.
        channels: C of a layer, or the reason (a string) why this configuration cannot carry one.
        apply: ``(layer, x, scale, bias, statistics) -> y``; statistics is None for layers that
            keep none.
    """

    name: str
    module: type[nn.Module]
    channels: Callable[[Any], int | str]
    apply: Apply


_KINDS: dict[type[nn.Module], NormKind] = {}


def register_norm(
    name: str, module: type[nn.Module], *, channels: Callable[[Any], int | str]
) -> Callable[[Apply], Apply]:
    """Register a normalization layer class; decorates its ``apply`` function.

    Args:
        name: the kind's name; several classes may share one.
        module: the layer class. Subclasses inherit the registration unless they override
            ``forward``: a subclass that, say, adds an activation must be registered itself.
        channels: returns C, or a string that says why a configuration cannot carry a passport.

    Returns:
        The decorator.

    Raises:
        OptionError: the class is registered already.

    Example:
        >>> class Scale(nn.LayerNorm):
        ...     def forward(self, x):
        ...         return super().forward(2 * x)
        >>> @register_norm("doubled", Scale, channels=lambda norm: norm.normalized_shape[-1])
        ... def apply(norm, x, scale, bias, statistics):
        ...     return F.layer_norm(2 * x, norm.normalized_shape, scale, bias, norm.eps)
        >>> kind_of(Scale(4)).name
        'doubled'
    """
    if module in _KINDS:
        raise OptionError(f"{module.__qualname__} is registered as {_KINDS[module].name!r} already")

    def decorate(apply: Apply) -> Apply:
        _KINDS[module] = NormKind(name, module, channels, apply)
        return apply

    return decorate


def kind_of(module: nn.Module) -> NormKind | None:
    """The registered kind of a layer, or None.

    A subclass that overrides ``forward`` is not what its parent was, so the walk up the classes
    stops there.
    """
    for cls in type(module).__mro__:
        if cls in _KINDS:
            return _KINDS[cls]
        if "forward" in vars(cls):
            return None
    return None


def tracks_statistics(module: nn.Module) -> bool:
    """Tell whether a layer keeps running statistics."""
    return isinstance(getattr(module, "running_mean", None), Tensor)


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
