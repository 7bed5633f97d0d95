"""Read every channel of a bound weight in one pass over its bytes, at memory speed.

The reading is rᵢ = ⟨wᵢ, Pᵢ⟩ / ‖wᵢ‖ of `modeldeed.passport.signature.project`, the slow twin. Here a
weight is taken in blocks that a core's cache holds; a block's signs are expanded beside it from
the keyed stream, ⟨w, P⟩ and ⟨w, w⟩ are summed in float32 over at most 1,024 products and from there
on in float64. No tensor is copied as a whole.

A sign is never left to float32: where |r| is within the bound of its rounding, or where squares
leave float32's range, the row is counted again in float64, and where float64 cannot tell either,
exactly. So every platform, block size and number of threads finds the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modeldeed.passport._packed_signs import PackedSigns, SignReader, transposed_bits

__all__ = ["Channels", "Prepared", "prepare", "readings"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

BLOCK = 2**17  # weights: 512 KiB, and as much for their signs, fit a second-level cache
TASK = 32 * BLOCK  # what one thread takes at a time
PIECE = 1024  # products that are summed in float32
PANEL = 1024  # channels side by side in memory that are read together
_RECOUNTED = 2**20  # weights in float64 at a time
_LEAST_SQUARE = 2.0**-90  # per weight; below, float32 squares may have lost what counts
_U32, _U64 = 2.0**-24, 2.0**-53


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


def readings(channels: Channels, signs: PackedSigns, *, threads: int = 1) -> Doubles:
    """Read every channel.

    Args:
        channels: the weight.
        signs: its passport.
        threads: how many share the work; the result does not depend on it.

    Returns:
        r, shape ``(C,)``: right in its sign, and to about 10⁻³ in its value; 0 for a row of
        zeros, NaN for a row that holds NaN or infinity.
    """
    found = np.zeros((2, channels.count))
    for first, last, sums in _shared_out(_tasks(channels), signs, threads):
        found[:, first:last] += sums
    with np.errstate(all="ignore"):
        return _settled(channels, signs, found[0], found[1])


@dataclass(frozen=True)
class Prepared:
    """A weight made ready for many keys: its rows side by side in memory, their lengths known.

    Attributes:
        channels: the weight as stored.
        rows: the same in float32 with channels along the first dimension; no copy where it is
            stored so.
        squares: ‖w‖² of each row of ``rows``, float64.
    """

    channels: Channels
    rows: Channels
    squares: Doubles

    def readings(self, signs: PackedSigns) -> Doubles:
        """`readings` of the weight, on this thread."""
        count, fan, reader = self.rows.count, self.rows.fan, signs.reader()
        with np.errstate(all="ignore"):
            if count * fan <= BLOCK:
                found = _dot(self.rows.rows(0, count, 0, fan), reader.floats(0, count, 0, fan))
            else:
                found = np.zeros(count)
                for cut in _cuts((0, count, 0, fan), BLOCK):
                    found[cut[0] : cut[1]] += _dot(self.rows.rows(*cut), reader.floats(*cut))
            return _settled(self.channels, signs, found, self.squares)


def prepare(channels: Channels) -> Prepared:
    """Make a weight ready for many keys; see `Prepared`.

    Args:
        channels: the weight.

    Returns:
        The weight and what all keys' readings of it have in common.
    """
    rows = channels.in_rows()
    squares = np.zeros(rows.count)
    with np.errstate(all="ignore"):
        for cut in _cuts((0, rows.count, 0, rows.fan), BLOCK):
            squares[cut[0] : cut[1]] += _dot(rows.rows(*cut), rows.rows(*cut))
    return Prepared(channels, rows, squares)


# --- the passes ---

Cut = tuple[int, int, int, int]
Sums = tuple[int, int, Doubles]
Task = Callable[[SignReader], list[Sums]]


def _shared_out(tasks: Sequence[Task], signs: PackedSigns, threads: int) -> Iterator[Sums]:
    """Run tasks, in order or side by side; their sums come in order."""
    readers = [signs.reader() for _ in range(max(1, threads))]

    def run(task: Task) -> list[Sums]:
        reader = readers.pop()  # one for each thread, so there always is one
        try:
            with np.errstate(all="ignore"):  # the setting is each thread's own
                return task(reader)
        finally:
            readers.append(reader)

    if threads <= 1 or len(tasks) <= 1:
        for task in tasks:
            yield from run(task)
        return
    with ThreadPoolExecutor(threads) as pool:
        for sums in pool.map(run, tasks):
            yield from sums


def _tasks(channels: Channels) -> list[Task]:
    count, fan = channels.count, channels.fan
    if channels.axis == 0:
        return [partial(_along_rows, channels, cut) for cut in _cuts((0, count, 0, fan), TASK)]
    # A few panels for each thread, but none so narrow that a read is shorter than a cache line.
    width = min(PANEL, max(128, -(-count // 32) * 8))
    panels = ((first, min(first + width, count)) for first in range(0, count, width))
    return [partial(_along_columns, channels, panel) for panel in panels]


def _cuts(cut: Cut, size: int) -> Iterator[Cut]:
    """Cut a part of a matrix into whole rows, or into parts of single rows, of at most ``size``."""
    first, last, start, stop = cut
    step = max(1, size // max(1, stop - start))
    for row in range(first, last, step):
        if stop - start <= size:
            yield row, min(row + step, last), start, stop
        else:
            yield from (
                (row, row + 1, column, min(column + size, stop))
                for column in range(start, stop, size)
            )


def _along_rows(channels: Channels, task: Cut, reader: SignReader) -> list[Sums]:
    found = []
    for cut in _cuts(task, BLOCK):
        tile, passport = channels.rows(*cut), reader.floats(*cut)
        found.append((cut[0], cut[1], np.stack([_dot(tile, passport), _dot(tile, tile)])))
    return found


def _dot(one: Floats, other: Floats) -> Doubles:
    """Row by row: pieces in float32, their sums in float64."""
    width = one.shape[1]
    length = _piece(width)
    whole = width - width % length
    pieces = (len(one), whole // length, length)
    total: Doubles = _inner(one[:, :whole].reshape(pieces), other[:, :whole].reshape(pieces)).sum(
        1, dtype=np.float64
    )
    if whole < width:
        total += _inner(one[:, whole:], other[:, whole:])
    return total


@lru_cache
def _piece(width: int) -> int:
    """How many products to sum in float32: all, or a divisor if a long one is found."""
    if width <= PIECE:
        return width
    return next((n for n in range(PIECE, PIECE // 4, -1) if width % n == 0), PIECE)


def _inner(one: Floats, other: Floats) -> Floats:
    if hasattr(np, "vecdot"):  # NumPy 2
        found: Floats = np.vecdot(one, other)
    else:  # pragma: no cover - NumPy 1.26
        found = np.einsum("...i,...i->...", one, other)
    return found


def _along_columns(channels: Channels, panel: tuple[int, int], reader: SignReader) -> list[Sums]:
    """Sums of channels that lie side by side, all of their D weights."""
    first, last = panel
    after, fan = channels.data.shape[channels.axis + 1 :].numel(), channels.fan
    bits = transposed_bits(reader.bytes_of_rows(first, last))
    step = max(1, min(PIECE, BLOCK // (last - first)) // after) * after
    sums = np.zeros((2, last - first))
    for start in range(0, fan, step):
        stop = min(start + step, fan)
        tile = channels.columns(first, last, start, stop)
        passport = reader.expanded(bits[start // 8 : -(-stop // 8)])
        passport = passport.reshape(-1, passport.shape[2])[start % 8 :, : last - first]
        for piece in range(0, len(tile), PIECE):
            one, other = tile[piece : piece + PIECE], passport[piece : piece + PIECE]
            sums[0] += np.einsum("ij,ij->j", one, other[: len(one)])
            sums[1] += np.einsum("ij,ij->j", one, one)
    return [(first, last, sums)]


# --- what float32 does not settle ---


def _settled(
    channels: Channels, signs: PackedSigns, products: Doubles, squares: Doubles
) -> Doubles:
    """Divide by the lengths; count anew where rounding could have turned a sign."""
    fan = channels.fan
    # With m terms a float32 sum errs by at most m u Σ|w|, in any order, and Σ|w| ≤ √D ‖w‖; two
    # more u for rounding to float32 and a factor for ‖w‖ itself.
    bound = 1.1 * (min(fan, PIECE) + 2) * _U32 * math.sqrt(fan)
    found: Doubles = products / np.sqrt(squares)
    # A comparison with NaN is false; an infinite square leaves nothing above the bound.
    sure = (squares >= fan * _LEAST_SQUARE) & (np.abs(found) > bound)
    doubtful = np.flatnonzero(~sure)
    step = max(1, _RECOUNTED // max(1, fan))
    for start in range(0, len(doubtful), step):
        some = doubtful[start : start + step]
        found[some] = _recounted(channels, signs, some)
    return found


def _recounted(channels: Channels, signs: PackedSigns, some: NDArray[np.int64]) -> Doubles:
    rows = channels.exact(torch.from_numpy(some)).numpy()
    fan = channels.fan
    reader = signs.reader()
    passport = np.stack([reader.floats(i, i + 1, 0, fan)[0].copy() for i in some.tolist()])
    terms = rows * passport
    lengths = np.sqrt((rows * rows).sum(1))
    found: Doubles = np.where(lengths > 0, terms.sum(1) / lengths, lengths)
    # A sum of D float64 numbers, in whatever order.
    unsettled = np.flatnonzero(np.abs(found) <= fan * _U64 * math.sqrt(fan))
    for i in unsettled.tolist():
        if lengths[i] > 0:
            found[i] = math.fsum(terms[i]) / lengths[i]
    return found
