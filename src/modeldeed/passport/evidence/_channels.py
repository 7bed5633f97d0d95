"""The channels of a stored weight as rows of numbers, wherever they lie in memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Channels"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Channels:
    """A weight of a suspect, one row of D numbers per channel wherever they lie in memory.

    Attributes:
        data: the tensor as stored, dense, on the CPU, of any real dtype.
        axis: its dimension along which the channels lie.
        scale: what the entries of its first dimension are to be multiplied with, shape
            ``(data.shape[0],)``, float64; None for nothing.
    """

    data: Tensor
    axis: int
    scale: Tensor | None = None

    @property
    def count(self) -> int:
        """C."""
        return self.data.shape[self.axis]

    @property
    def fan(self) -> int:
        """D."""
        return math.prod(self.data.shape) // max(1, self.count)

    @cached_property
    def _grid(self) -> Tensor:
        """The weight as (before, C, after); a view, unless a tensor in memory is not dense."""
        shape = self.data.shape
        before, after = math.prod(shape[: self.axis]), math.prod(shape[self.axis + 1 :])
        return self.data.contiguous().view(before, self.count, after)

    @cached_property
    def _factors(self) -> Tensor | None:
        """The scale by entries of the grid's first dimension, or by channel for axis 0."""
        if self.scale is None or self.axis == 0:
            return self.scale
        return self.scale.repeat_interleave(self._grid.shape[0] // len(self.scale))

    @cached_property
    def _as_stored(self) -> NDArray[Any] | None:
        """Rows that need no conversion, as NumPy cuts them faster."""
        if self.data.dtype is not torch.float32 or self.scale is not None:
            return None
        array: NDArray[Any] = self._grid.view(self.count, self.fan).numpy()
        return array

    @property
    def converted(self) -> bool:
        """Whether a read makes a copy in float32."""
        return self._as_stored is None

    def rows(self, first: int, last: int, start: int, stop: int) -> Floats:
        """Rows ``first … last − 1``, columns ``start … stop − 1``, for axis 0."""
        if self._as_stored is not None:
            return self._as_stored[first:last, start:stop]
        part = self._grid.view(self.count, self.fan)[first:last, start:stop]
        factors = None if self._factors is None else self._factors[first:last, None]
        return _float32(part, factors)

    def columns(self, first: int, last: int, start: int, stop: int) -> Floats:
        """The transposed of `rows`, for another axis; start and stop are whole entries."""
        after = self._grid.shape[2]
        part = self._grid[start // after : stop // after, first:last]
        factors = None
        if self._factors is not None:
            factors = self._factors[start // after : stop // after, None, None]
        floats = _float32(part, factors)
        return floats.transpose(0, 2, 1).reshape(-1, last - first)

    def in_rows(self) -> Channels:
        """The same in float32 with axis 0; a copy, unless it is so already."""
        if self._as_stored is not None and self.axis == 0:
            return self
        values = self._grid
        if self._factors is not None:
            by_channel = self.axis == 0
            values = values * self._factors.view((1, -1, 1) if by_channel else (-1, 1, 1))
        rows = values.to(torch.float32).movedim(1, 0).reshape(self.count, self.fan)
        return Channels(rows, 0)

    def exact(self, channels: Tensor) -> Tensor:
        """Some channels' rows in float64, each times a power of two: largest magnitude in [½, 1).

        A row of zeros stays; one that holds NaN or infinity becomes NaN.
        """
        rows = self._grid.index_select(1, channels).double()
        if self._factors is not None:
            by_channel = self.axis == 0
            rows = rows * (
                self._factors[channels][:, None] if by_channel else self._factors[:, None, None]
            )
        rows = rows.movedim(1, 0).reshape(len(channels), -1)
        largest = rows.abs().amax(1, keepdim=True)
        finite = torch.isfinite(largest)
        _, exponent = torch.frexp(torch.where(finite, largest, 1.0))
        # In two halves: 2 to the whole exponent may be out of range itself.
        half = torch.div(exponent, 2, rounding_mode="floor")
        return torch.where(finite, rows.ldexp(-half).ldexp(half - exponent), torch.nan)


def _float32(part: Tensor, factors: Tensor | None) -> Floats:
    if factors is not None:
        part = part * factors  # in float64
    array: Floats = part.to(torch.float32).numpy()
    return array
