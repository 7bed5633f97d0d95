"""Random choices for each sample of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["each_by_one", "partners", "picked"]


def picked(pool: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """So many of a pool, drawn with replacement."""
    return pool[torch.randint(len(pool), (count,), generator=generator)]


def partners(samples: Tensor, generator: torch.Generator) -> Tensor:
    """Another sample for each: the batch moved round by a random number of places."""
    if len(samples) < 2:
        return samples
    return samples.roll(int(torch.randint(1, len(samples), (), generator=generator)), 0)


def each_by_one(
    ways: Sequence[Callable[..., Tensor]], generator: torch.Generator, *parts: Tensor
) -> Tensor:
    """Each sample made in one of several ways, drawn at random.

    Args:
        ways: functions of some samples of every part, to as many like those of the first.
        generator: of the choice.
        parts: ``(N, ...)`` each.
    """
    result = torch.empty_like(parts[0])
    choice = torch.randint(len(ways), (len(result),), generator=generator)
    for number, way in enumerate(ways):
        own = choice == number
        if own.any():
            result[own] = way(*(part[own] for part in parts))
    return result
