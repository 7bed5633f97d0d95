"""Keyed numbers for several triggers at once, each from a stream of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from modeldeed.streams import KeyStream

__all__ = ["Draws"]


class Draws:
    """The next numbers of every trigger's stream, as one array.

    Every call reads equally much from each stream, so a trigger does not depend on which others
    are drawn beside it.

    Args:
        streams: one for each trigger.

    Example:
        >>> Draws([KeyStream(bytes(32), "example", n) for n in range(2)]).below(6, 3).tolist()
        [[4, 1, 3], [5, 3, 2]]
    """

    def __init__(self, streams: Sequence[KeyStream]) -> None:
        self._streams = tuple(streams)

    def __len__(self) -> int:
        """The number of triggers, N."""
        return len(self._streams)

    def bytes(self, *shape: int) -> NDArray[np.uint8]:
        """Bytes, uint8 of shape ``(N, *shape)``."""
        count = math.prod(shape)
        data = b"".join(stream.read(count) for stream in self._streams)
        return np.frombuffer(data, np.uint8).reshape(len(self), *shape)

    def bits(self, *shape: int) -> NDArray[np.uint8]:
        """Zeros and ones, uint8 of shape ``(N, *shape)``, from whole bytes."""
        count = math.prod(shape)
        packed = self.bytes(-(-count // 8))
        bits = np.unpackbits(packed, axis=1, count=count, bitorder="little")
        return bits.reshape(len(self), *shape)

    def below(self, bound: int, *shape: int) -> NDArray[np.int64]:
        """Integers on 0 … bound − 1, int64 of shape ``(N, *shape)``.

        Args:
            bound: exclusive upper end, 1 … 2³¹.
            shape: of one trigger's numbers.

        Returns:
            The high half of 32 bits times the bound. No number is more than bound/2³² likelier
            than it should be: enough for a picture, never for a label.
        """
        words = self.bytes(*shape, 4).view("<u4")[..., 0].astype(np.int64)
        return words * bound >> 32
