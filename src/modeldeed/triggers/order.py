"""The order in which triggers are shown: shuffled passes, so that each is seen equally often."""

from __future__ import annotations

import torch
from torch import Tensor

from modeldeed.digests import sha256
from modeldeed.errors import OptionError

__all__ = ["Order"]


class Order:
    """Endless shuffled passes over so many things.

    What comes at a position follows from the seed and the position alone, so an order goes on
    where it stopped when ``position`` is put back. PyTorch's own random numbers are not used.

    Args:
        size: how many there are.
        seed: of the shuffles.
        name: tells orders of the same seed apart.

    Attributes:
        position: how many were taken by all processes that train together.

    Raises:
        OptionError: there is nothing to take.

    Example:
        >>> order = Order(4, seed=0)
        >>> sorted(torch.cat([order.take(3), order.take(1)]).tolist())
        [0, 1, 2, 3]
    """

    def __init__(self, size: int, seed: int, name: str = "") -> None:
        if size < 1:
            raise OptionError(f"an order is over at least one thing, got {size}")
        self.position = 0
        self._size = size
        self._seed = seed
        self._name = name
        self._kept: tuple[int, Tensor] | None = None

    def take(self, count: int) -> Tensor:
        """The numbers of the next ones, int64 ``(count,)``.

        Of processes that train together, each takes its own part of what comes next.
        """
        rank, processes = _place()
        start = self.position + rank * count
        self.position += processes * count
        taken = []
        while count > 0:
            number, offset = divmod(start, self._size)
            part = self._pass(number)[offset : offset + count]
            taken.append(part)
            start, count = start + len(part), count - len(part)
        return torch.cat(taken) if taken else torch.empty(0, dtype=torch.int64)

    def generator(self) -> torch.Generator:
        """A generator for what is done to the next ones; the same at the same position."""
        return self._generator("change", self.position + _place()[0])

    def _pass(self, number: int) -> Tensor:
        if self._kept is None or self._kept[0] != number:
            generator = self._generator("pass", number)
            self._kept = number, torch.randperm(self._size, generator=generator)
        return self._kept[1]

    def _generator(self, purpose: str, number: int) -> torch.Generator:
        text = f"{self._seed}/{self._name}/{purpose}/{number}"
        seed = int.from_bytes(sha256(b"modeldeed/v1/trigger-order", text.encode())[:7], "big")
        return torch.Generator().manual_seed(seed)


def _place() -> tuple[int, int]:
    """Rank and number of the processes that train together."""
    distributed = torch.distributed
    if not distributed.is_available() or not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()
