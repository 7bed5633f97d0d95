"""Small changes of views in every step: moved, cut, mirrored, brighter, noisy.

Cheap enough for every sample of every step, because they work on what is already averaged.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from modeldeed.plugin.detector.reductions.images import overlaps

__all__ = ["Changes", "changed"]

_LEFT_ALONE = 0.25
"""So many samples stay as they are."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What may happen to a view, and how strongly at most.

    Attributes:
        rows: whether rows are moved.
        columns: whether columns are.
        cut: part of the length that may be cut off.
        shift: part by which it may be moved, both ways.
        mirrored: part of the samples whose columns are mirrored.
        gain: by which values may become larger or smaller.
        offset: of all values together.
        tint: of each channel by itself.
        gray: how far channels may go towards their mean.
        noise: deviation, in half of the samples.
        limit: values are cut off beyond; None for never.
    """

    rows: bool = False
    columns: bool = False
    cut: float = 0.0
    shift: float = 0.0
    mirrored: float = 0.0
    gain: float = 0.0
    offset: float = 0.0
    tint: float = 0.0
    gray: float = 0.0
    noise: float = 0.0
    limit: float | None = None


def changed(
    fine: Tensor, size: tuple[int, int], changes: Changes, generator: torch.Generator
) -> Tensor:
    """Views at the detector's resolution, each changed as drawn.

    Args:
        fine: views ``(N, C, rows, columns)`` at that resolution or a finer one.
        size: rows and columns of the result.
        changes: what may happen.
        generator: every random choice.

    Returns:
        float32 ``(N, C, *size)``.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> changed(torch.ones(2, 1, 4, 4), (2, 2), Changes(), generator).tolist()[0]
        [[[1.0, 1.0], [1.0, 1.0]]]
    """
    moves = torch.rand(len(fine), generator=generator) >= _LEFT_ALONE
    width = _drawn_width(moves, changes.cut, generator)
    mirror = torch.rand(len(fine), generator=generator) < changes.mirrored
    views = fine.float()
    columns = _matrices(width, moves * changes.columns, size[1], views.shape[3], changes, generator)
    columns = torch.where(mirror[:, None, None], columns.flip(1), columns)
    views = _across(views, columns)
    rows = _matrices(width, moves * changes.rows, size[0], views.shape[2], changes, generator)
    return _toned(_across(views.transpose(2, 3), rows).transpose(2, 3), moves, changes, generator)


def _drawn_width(moves: Tensor, cut: float, generator: torch.Generator) -> Tensor:
    """How much of each is left: all of every second one."""
    count = len(moves)
    cuts = moves & (torch.rand(count, generator=generator) < 0.5)
    return 1 - cut * torch.rand(count, generator=generator) * cuts


def _matrices(
    width: Tensor,
    moves: Tensor,
    cells: int,
    size: int,
    changes: Changes,
    generator: torch.Generator,
) -> Tensor:
    width = torch.where(moves, width, torch.ones(()))
    within = torch.rand(len(width), generator=generator) * (1 - width)
    shifts = moves & (torch.rand(len(width), generator=generator) < 0.3)
    beyond = (2 * torch.rand(len(width), generator=generator) - 1) * changes.shift
    return overlaps(within + beyond * shifts, width, cells, size)


def _across(views: Tensor, matrices: Tensor) -> Tensor:
    """Each view's columns times its matrix."""
    lines: Tensor = views.flatten(1, 2) @ matrices.transpose(1, 2)
    return lines.view(*views.shape[:3], -1)


def _toned(views: Tensor, moves: Tensor, changes: Changes, generator: torch.Generator) -> Tensor:
    count, channels = views.shape[:2]
    on = moves & (torch.rand(count, generator=generator) < 0.7)

    def drawn(most: float, width: int = 1) -> Tensor:
        around = 2 * torch.rand(count, width, 1, 1, generator=generator) - 1
        return around * most * on[:, None, None, None]

    if changes.gray and channels > 1:
        views = torch.lerp(views, views.mean(1, keepdim=True), drawn(changes.gray).clamp_min_(0))
    views = views * (1 + drawn(changes.gain)) + drawn(changes.offset)
    views = views + drawn(changes.tint, channels)
    half = views[: count // 2]
    half += (
        changes.noise
        * torch.rand(len(half), 1, 1, 1, generator=generator)
        * torch.randn(half.shape, generator=generator)
    )
    return views if changes.limit is None else views.clamp_(-changes.limit, changes.limit)
