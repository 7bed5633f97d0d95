"""One factory for the normalization layers of every network in this package."""

from typing import Literal, get_args

from torch import nn

from modeldeed.errors import OptionError

NormKind = Literal["batch", "group", "instance", "layer"]
"""The kinds of normalization which every network of this package can be built with."""

NORM_KINDS: tuple[NormKind, ...] = get_args(NormKind)
"""The values of :data:`NormKind`, for loops and command-line choices."""

_MAX_GROUPS = 32
_MIN_CHANNELS_PER_GROUP = 4


def make_norm(kind: NormKind, channels: int, dims: Literal[0, 1, 2]) -> nn.Module:
    """Build a normalization layer with an affine scale and bias per channel.

    ``group`` takes the largest number of groups, at most 32, that divides ``channels`` and leaves
    at least four channels in each. ``layer`` is ``GroupNorm(1, channels)``: one mean and variance
    per sample over channels *and* positions, which keeps the ``(N, C, *)`` layout; on vectors it
    equals ``nn.LayerNorm(channels)``. On vectors ``instance`` has no positions to average over, so
    it falls back to ``layer`` there.

    Args:
        kind: one of :data:`NORM_KINDS`.
        channels: number of channels C, at least 1.
        dims: number of positional axes behind the channel axis: 0 for vectors ``(N, C)``, 1 for
            sequences and point sets ``(N, C, L)``, 2 for images ``(N, C, H, W)``.

    Returns:
        A ``BatchNorm``, ``GroupNorm`` or ``InstanceNorm`` module of ``torch.nn``.

    Raises:
        OptionError: ``kind`` is not one of :data:`NORM_KINDS`.

    Reference:
        Y. Wu, K. He, "Group Normalization", ECCV 2018: 32 groups by default, and the remark that
        ``GroupNorm(1, C)`` is layer normalization.

    Example:
        >>> make_norm("group", 64, dims=2).num_groups
        16
    """
    if kind == "batch":
        return nn.BatchNorm2d(channels) if dims == 2 else nn.BatchNorm1d(channels)
    if kind == "group":
        return nn.GroupNorm(_group_count(channels), channels)
    if kind == "layer" or (kind == "instance" and dims == 0):
        return nn.GroupNorm(1, channels)
    if kind == "instance":
        instance = nn.InstanceNorm2d if dims == 2 else nn.InstanceNorm1d
        return instance(channels, affine=True)
    raise OptionError(f"norm: got {kind!r}; choose one of {', '.join(map(repr, NORM_KINDS))}")


def _group_count(channels: int) -> int:
    most = max(1, min(_MAX_GROUPS, channels // _MIN_CHANNELS_PER_GROUP))
    return next(groups for groups in range(most, 0, -1) if channels % groups == 0)
