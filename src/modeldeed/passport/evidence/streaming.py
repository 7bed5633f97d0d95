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

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from modeldeed.passport.evidence._channels import Channels
from modeldeed.passport.evidence._compiled_sums import LANES, PADDING, CompiledSums
from modeldeed.passport.evidence._packed_signs import PackedSigns, SignReader, transposed_bits
from modeldeed.passport.evidence._settling import settled

__all__ = ["Channels", "Prepared", "prepare", "readings"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

BLOCK = 2**17  # weights: 512 KiB, and as much for their signs, fit a second-level cache
TASK = 32 * BLOCK  # what one thread takes at a time
COMPILED_TASK = 8 * BLOCK  # the same where the sums are compiled, and no tile is copied
PIECE = 1024  # products that are summed in float32
PANEL = 1024  # channels side by side in memory that are read together


def readings(
    channels: Channels,
    signs: PackedSigns,
    *,
    threads: int = 1,
    compiled: CompiledSums | None = None,
) -> Doubles:
    """Read every channel.

    Args:
        channels: the weight.
        signs: its passport.
        threads: how many share the work; the result does not depend on it.
        compiled: the sums as compiled functions; None for NumPy. No sign depends on it.

    Returns:
        r, shape ``(C,)``: right in its sign, and to about 10⁻³ in its value; 0 for a row of
        zeros, NaN for a row that holds NaN or infinity.
    """
    found = np.zeros((2, channels.count))
    for first, last, sums in _shared_out(_tasks(channels, compiled), signs, threads):
        found[:, first:last] += sums
    with np.errstate(all="ignore"):
        return settled(channels, signs, found[0], found[1], LANES if compiled else PIECE)


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
            return settled(self.channels, signs, found, self.squares, PIECE)


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


def _tasks(channels: Channels, compiled: CompiledSums | None) -> list[Task]:
    count, fan = channels.count, channels.fan
    if channels.axis == 0:
        whole = (0, count, 0, fan)
        if compiled is None:
            return [partial(_along_rows, channels, cut) for cut in _cuts(whole, TASK)]
        cuts = _cuts(whole, COMPILED_TASK)
        return [partial(_compiled_rows, compiled, channels, cut) for cut in cuts]
    # A few panels for each thread, but none so narrow that a read is shorter than a cache line.
    width = min(PANEL, max(128, -(-count // 32) * 8))
    panels = ((first, min(first + width, count)) for first in range(0, count, width))
    if compiled is None:
        return [partial(_along_columns, channels, panel) for panel in panels]
    return [partial(_compiled_columns, compiled, channels, panel) for panel in panels]


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


# --- the same, compiled ---


def _compiled_rows(
    compiled: CompiledSums, channels: Channels, task: Cut, reader: SignReader
) -> list[Sums]:
    """Sums of rows; what has to be converted is, block by block."""
    found = []
    for cut in _cuts(task, BLOCK if channels.converted else COMPILED_TASK):
        packed, first, step = reader.bits(*cut, padding=PADDING)
        sums = np.zeros((2, cut[1] - cut[0]))
        compiled.rows(channels.rows(*cut), packed, first, step, sums[0], sums[1])
        found.append((cut[0], cut[1], sums))
    return found


def _compiled_columns(
    compiled: CompiledSums, channels: Channels, panel: tuple[int, int], reader: SignReader
) -> list[Sums]:
    """Sums of channels that lie side by side, all of their D weights."""
    first, last = panel
    after, fan = channels.data.shape[channels.axis + 1 :].numel(), channels.fan
    bits = transposed_bits(reader.bytes_of_rows(first, last))
    strips = np.pad(bits.reshape(-1, bits.shape[2]), ((0, 0), (0, PADDING)))
    strips = np.ascontiguousarray(strips)
    step = max(1, BLOCK // (last - first) // after) * after
    sums = np.zeros((2, last - first))
    for start in range(0, fan, step):
        stop = min(start + step, fan)
        tile = channels.columns(first, last, start, stop)
        if tile.strides[1] != tile.itemsize:
            tile = np.ascontiguousarray(tile)
        compiled.columns(tile, strips[start:stop], sums[0], sums[1])
    return [(first, last, sums)]
