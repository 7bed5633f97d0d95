"""A passport's signs straight from its keyed stream, packed or expanded, part by part.

The same signs as `modeldeed.passport.signature.passport_rows` gives, which expands a whole layer:
row after row without padding, one bit each, the least significant first, 1 for +1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modeldeed.streams import KeyStream

__all__ = ["PackedSigns", "SignReader", "transposed_bits"]

Bytes = NDArray[np.uint8]

# Eight signs for each byte: 8 KiB, looked up faster than bits are shifted and converted.
_SIGNS = (2.0 * (np.arange(256)[:, None] >> np.arange(8) & 1) - 1).astype(np.float32)


class PackedSigns:
    """The passport P_γ of one layer.

    Args:
        key: the model key.
        ordinal: the layer's place in the canonical list.
        fan: D.
        rows: ``"keyed"``: a row for each channel; ``"shared"``: one for all.
    """

    def __init__(self, key: bytes, ordinal: int, fan: int, rows: str) -> None:
        self.stream = KeyStream(key, "passport", ordinal, "gamma")
        self.fan = fan
        self.shared = rows == "shared"

    def reader(self) -> SignReader:
        """A reader of its own position; one for each thread."""
        return SignReader(self)


class SignReader:
    """Reads a passport's signs; fastest where one call goes on where the last one ended."""

    def __init__(self, signs: PackedSigns) -> None:
        self._signs = signs
        self._stream, self._position = signs.stream, -1
        self._places, self._floats = np.empty(0, np.intp), np.empty((0, 8), np.float32)

    def floats(self, first: int, last: int, start: int, stop: int) -> NDArray[np.float32]:
        """Signs of the rows ``first … last − 1``, columns ``start … stop − 1``.

        Args:
            first: the first row.
            last: the one behind the last row; ``first + 1`` unless all columns are asked for.
            start: the first column.
            stop: the one behind the last column.

        Returns:
            float32 ±1, shape ``(last − first, stop − start)``, until the next call; shared rows
            repeat one in memory.
        """
        width = stop - start
        count = 1 if self._signs.shared else last - first
        packed, skipped = self._packed(self._first_bit(first) + start, count * width)
        rows = self.expanded(packed)[skipped : skipped + count * width].reshape(count, width)
        return np.broadcast_to(rows, (last - first, width))

    def bits(
        self, first: int, last: int, start: int, stop: int, *, padding: int
    ) -> tuple[Bytes, int, int]:
        """The signs that `floats` expands, still packed.

        Returns:
            The bytes, followed by ``padding`` zeros; the bit among them that is the first row's
            first sign; how many bits further the next row's is.
        """
        width = stop - start
        count = 1 if self._signs.shared else last - first
        packed, skipped = self._packed(self._first_bit(first) + start, count * width)
        padded = np.concatenate([packed, np.zeros(padding, np.uint8)])
        return padded, skipped, 0 if self._signs.shared else width

    def bytes_of_rows(self, first: int, last: int) -> Bytes:
        """Whole rows, packed, each starting with a byte of its own.

        Returns:
            Shape ``(last − first, ⌈D/8⌉)``.
        """
        fan = self._signs.fan
        count = 1 if self._signs.shared else last - first
        packed, skipped = self._packed(self._first_bit(first), count * fan)
        if fan % 8:
            bits = np.unpackbits(packed, bitorder="little")[skipped : skipped + count * fan]
            packed = np.packbits(bits.reshape(count, fan), axis=1, bitorder="little")
        return np.broadcast_to(packed.reshape(count, -1), (last - first, -(-fan // 8)))

    def expanded(self, packed: Bytes) -> NDArray[np.float32]:
        """Eight float32 ±1 for each byte, in place of its last dimension, until the next call."""
        if len(self._places) < packed.size:
            # Kept from call to call: the system hands out fresh memory page by page, slowly.
            self._places = np.empty(packed.size, np.intp)
            self._floats = np.empty((packed.size, 8), np.float32)
        places, floats = self._places[: packed.size], self._floats[: packed.size]
        places.reshape(packed.shape)[...] = packed
        # With a mode that never raises, numpy needs no buffer between.
        np.take(_SIGNS, places, axis=0, out=floats, mode="clip")
        return floats.reshape(*packed.shape[:-1], -1)

    def _first_bit(self, row: int) -> int:
        return 0 if self._signs.shared else row * self._signs.fan

    def _packed(self, bit: int, count: int) -> tuple[Bytes, int]:
        """The bytes that hold some bits, and how many of their bits lie before."""
        start, skipped = divmod(bit, 8)
        length = -(-(skipped + count) // 8)
        if start != self._position:
            self._stream = self._signs.stream.at(start)
        self._position = start + length
        return np.frombuffer(self._stream.read(length), np.uint8), skipped


def transposed_bits(packed: Bytes) -> Bytes:
    """Pack bits along channels in place of along a channel's weights.

    Args:
        packed: one row of D bits for each channel, shape ``(C, ⌈D/8⌉)``.

    Returns:
        Shape ``(⌈D/8⌉, 8, ⌈C/8⌉)``: the weight's place, in two steps, and channels by eights;
        what is beyond D or C is 0.
    """
    channels, width = packed.shape
    eights = -(-channels // 8)
    padded = np.zeros((eights * 8, width), np.uint8)
    padded[:channels] = packed
    # A word holds the same byte of eight channels: an 8 × 8 matrix of bits, then transposed by
    # exchanging bits, pairs and quadruples (H. S. Warren, Hacker's Delight, 7-3).
    words = np.ascontiguousarray(padded.reshape(eights, 8, width).transpose(2, 0, 1))
    x = words.view("<u8")
    for shift, mask in (
        (7, 0x00AA00AA00AA00AA),
        (14, 0x0000CCCC0000CCCC),
        (28, 0x00000000F0F0F0F0),
    ):
        moved = (x ^ (x >> np.uint64(shift))) & np.uint64(mask)
        x ^= moved ^ (moved << np.uint64(shift))
    return words.transpose(0, 2, 1)
