"""The two sums of a reading in one pass, compiled by Numba where it is installed.

Signs stay packed: 64 of them are the mask that turns 64 weights, and where the processor has
vector masks that costs an instruction. At most 64 products are summed in float32, then float64
goes on. What is compiled stays in memory: Numba's cache on disk holds pickles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np

__all__ = ["LANES", "PADDING", "CompiledSums", "compiled_sums"]

LANES = 64  # weights that are turned together, and products that one float32 sum holds
PADDING = 8  # bytes that may be read behind the last packed sign
# Weights (2 GiB) that NumPy reads in about the second that importing and compiling take.
WORTH_COMPILING = 2**29


@dataclass(frozen=True)
class CompiledSums:
    """The compiled functions; both release the interpreter's lock.

    Attributes:
        rows: ``rows(tile, packed, first, step, products, squares)`` sums along the rows of a
            float32 matrix, contiguous along each; row i's signs begin at bit ``first + i step`` of
            ``packed``, uint8, which goes on for `PADDING` bytes. Adds to the float64 sums.
        columns: ``columns(tile, packed, products, squares)`` sums along its columns; the signs of
            its row j begin at the byte ``packed[j]``, which goes on likewise.
    """

    rows: Callable[..., None]
    columns: Callable[..., None]


def compiled_sums(weights: int | None = None) -> CompiledSums | None:
    """The compiled sums, if Numba is installed and compiling pays.

    Args:
        weights: how many are to be read; None compiles in any case.

    Returns:
        The functions, compiled once in a process; None where NumPy shall do the work.
    """
    # By the size alone: margins differ in their last digits, and the same file shall give the same
    # report whatever a process has read before.
    worth = weights is None or weights >= WORTH_COMPILING
    return _compile() if worth and find_spec("numba") is not None else None


@lru_cache(maxsize=1)
def _compile() -> CompiledSums:
    from numba import njit, types  # noqa: PLC0415

    add = _add_turned()
    tile = types.Array(types.float32, 2, "A", readonly=True)
    stream = types.Array(types.uint8, 1, "C", readonly=True)
    strips = types.Array(types.uint8, 2, "C", readonly=True)
    sums = types.float64[::1]
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    rows = njit([types.void(tile, stream, types.intp, types.intp, sums, sums)], **options)
    columns = njit([types.void(tile, strips, sums, sums)], **options)
    return CompiledSums(rows(_rows_with(add)), columns(_columns_with(add)))


def _rows_with(add: Any) -> Callable[..., None]:
    piece = LANES * LANES

    def rows(tile: Any, packed: Any, first: int, step: int, products: Any, squares: Any) -> None:
        count, width = tile.shape
        weights, signs, stride = tile.ctypes.data, packed.ctypes.data, tile.strides[0]
        lanes = np.zeros((2, LANES), np.float32)
        for row in range(count):
            product, square = 0.0, 0.0
            for start in range(0, width, piece):
                stop = min(start + piece, width)
                for column in range(start, stop - LANES + 1, LANES):
                    bit = first + row * step + column
                    add(
                        weights + row * stride + 4 * column,
                        signs + (bit >> 3), bit & 7,
                        lanes.ctypes.data, lanes.ctypes.data + 4 * LANES,
                    )  # fmt: skip
                for lane in range(LANES):
                    product += np.float64(lanes[0, lane])
                    square += np.float64(lanes[1, lane])
                lanes[:] = 0
            for column in range(width - width % LANES, width):
                bit = first + row * step + column
                weight = np.float64(tile[row, column])
                product += weight if packed[bit >> 3] >> (bit & 7) & 1 else -weight
                square += weight * weight
            products[row] += product
            squares[row] += square

    return rows


def _columns_with(add: Any) -> Callable[..., None]:
    def columns(tile: Any, packed: Any, products: Any, squares: Any) -> None:
        count, width = tile.shape
        weights, stride = tile.ctypes.data, tile.strides[0]
        lanes = np.zeros((2, width), np.float32)
        whole = width - width % LANES
        for start in range(0, count, LANES):
            for row in range(start, min(start + LANES, count)):
                signs = packed.ctypes.data + row * packed.strides[0]
                for column in range(0, whole, LANES):
                    add(
                        weights + row * stride + 4 * column,
                        signs + (column >> 3), 0,
                        lanes.ctypes.data + 4 * column,
                        lanes.ctypes.data + 4 * (width + column),
                    )  # fmt: skip
                for column in range(whole, width):
                    weight = tile[row, column]
                    turned = weight if packed[row, column >> 3] >> (column & 7) & 1 else -weight
                    lanes[0, column] += turned
                    lanes[1, column] += weight * weight
            for column in range(width):
                products[column] += np.float64(lanes[0, column])
                squares[column] += np.float64(lanes[1, column])
            lanes[:] = 0

    return columns


def _add_turned() -> Any:
    """Add 64 weights, turned by their signs, to 64 sums, and their squares to 64 others.

    Numba has no vectors of its own, and what its compiler makes of loops over bits is two to three
    times as slow; LLVM makes the best of these few operations on every processor.
    """
    from llvmlite import ir  # noqa: PLC0415
    from numba import types  # noqa: PLC0415
    from numba.extending import intrinsic  # noqa: PLC0415

    @intrinsic
    def add_turned(typing: Any, weights: Any, signs: Any, skipped: Any, one: Any, two: Any) -> Any:  # noqa: ARG001
        """Addresses of the weights, of their first sign's byte, its bit there, and the sums."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
            word, byte = ir.IntType(64), ir.IntType(8)
            floats = ir.VectorType(ir.FloatType(), LANES)

            def vector(address: Any) -> Any:
                return builder.inttoptr(address, floats.as_pointer())

            def load(kind: Any, address: Any, align: int) -> Any:
                loaded = builder.load(builder.inttoptr(address, kind.as_pointer()))
                loaded.align = align
                return loaded

            address, packed, shift, products, squares = arguments
            # 64 bits from any bit on. In two shifts, as one by 64 is not defined.
            behind = builder.zext(load(byte, builder.add(packed, word(8)), 1), word)
            behind = builder.shl(builder.shl(behind, builder.sub(word(63), shift)), word(1))
            bits = builder.or_(builder.lshr(load(word, packed, 1), shift), behind)
            weight = load(floats, address, 4)
            positive = builder.bitcast(bits, ir.VectorType(ir.IntType(1), LANES))
            turned = builder.select(positive, weight, builder.fneg(weight))
            square = builder.fmul(weight, weight, flags=["contract"])
            for sums, term in ((products, turned), (squares, square)):
                total = builder.fadd(load(floats, sums, 4), term, flags=["contract"])
                builder.store(total, vector(sums), align=4)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 5), generate

    return add_turned
