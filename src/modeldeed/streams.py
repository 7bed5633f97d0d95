"""Keyed streams: every secret number of the package, from one key, the same on every machine.

A stream is ChaCha20 under a key that HKDF-SHA256 derives from (key, label). Integers come by
rejection and floats by one exact rule, so nothing depends on the platform, the torch version or
a global seed. Golden vectors in the tests hold the format still.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from torch import Tensor

from modeldeed.digests import joined
from modeldeed.errors import OptionError

__all__ = ["KeyStream", "derive"]

KEY_BYTES = 32
_BLOCK_BYTES = 64  # of ChaCha20


def _encoded(label: tuple[str | int, ...]) -> bytes:
    # An integer and its decimal text must not collide: each part says what it is.
    return joined(
        b"modeldeed/v1",
        *(
            b"i" + str(part).encode() if isinstance(part, int) else b"s" + part.encode()
            for part in label
        ),
    )


def derive(key: bytes, *label: str | int, salt: bytes = b"") -> bytes:
    """Derive an independent 32-byte key for one purpose.

    Args:
        key: 32 secret bytes.
        label: what the derived key is for, for example ``("passport", 3, "gamma")``.
        salt: public bytes that the derived key shall depend on.

    Returns:
        32 bytes, HKDF-SHA256 (RFC 5869) with the label as info.

    Raises:
        OptionError: the key is not 32 bytes long, or the label is empty.

    Example:
        >>> derive(bytes(32), "identity") != derive(bytes(32), "model", "identity")
        True
    """
    if len(key) != KEY_BYTES:
        raise OptionError(f"a key has {KEY_BYTES} bytes, got {len(key)}")
    if not label:
        raise OptionError("a derived key needs a label that says what it is for")
    hkdf = HKDF(hashes.SHA256(), length=KEY_BYTES, salt=salt or None, info=_encoded(label))
    return hkdf.derive(key)


class KeyStream:
    """An endless stream of secret numbers under one label.

    Reading continues where the last reading ended, so the order of calls matters; two streams
    with different labels are independent.

    Args:
        key: 32 secret bytes.
        label: what the numbers are for.

    Raises:
        OptionError: the key is not 32 bytes long.

    Example:
        >>> KeyStream(bytes(32), "example").signs(6).tolist()
        [1, 1, -1, 1, -1, 1]
    """

    def __init__(self, key: bytes, *label: str | int) -> None:
        self._subkey = derive(key, "stream", *label)
        self._start = 0
        self._keystream: CipherContext | None = None

    def _started(self) -> CipherContext:
        block, skipped = divmod(self._start, _BLOCK_BYTES)
        # Every stream has its own key, so the nonce can be constant: zero behind the counter.
        nonce = block.to_bytes(8, "little") + bytes(8)
        keystream = Cipher(ChaCha20(self._subkey, nonce), mode=None).encryptor()
        keystream.update(bytes(skipped))
        return keystream

    def at(self, start: int) -> KeyStream:
        """A second reader of the same stream, for reading parts of it side by side.

        Args:
            start: the byte it begins at, counted from the beginning of the stream; below 2³⁸,
                where the cipher's 32-bit counter ends.

        Returns:
            A stream of its own position; this one stays where it is.

        Raises:
            OptionError: ``start`` is out of range.

        Example:
            >>> stream = KeyStream(bytes(32), "example")
            >>> stream.at(100).read(4) == stream.read(104)[100:]
            True
        """
        if not 0 <= start < _BLOCK_BYTES * 2**32:
            raise OptionError(f"start must be in 0 … 2**38 - 1, got {start}")
        other = copy.copy(self)
        other._start, other._keystream = start, None
        return other

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        if self._keystream is None:
            self._keystream = self._started()
        return self._keystream.update(bytes(count))

    def signs(self, *shape: int) -> Tensor:
        """The next signs, one bit each, padded to whole bytes at the end of the call.

        Args:
            shape: the wanted shape.

        Returns:
            int8 tensor of −1 and +1; a set bit (least significant first) is +1.
        """
        count = math.prod(shape)
        packed = np.frombuffer(self.read(-(-count // 8)), np.uint8)
        bits = np.unpackbits(packed, count=count, bitorder="little").astype(np.int8)
        return torch.from_numpy(2 * bits - 1).reshape(shape)

    def integers(self, bound: int, count: int) -> Tensor:
        """The next integers, uniform on 0 … bound − 1 without modulo bias.

        Args:
            bound: exclusive upper end, 1 … 2³².
            count: how many.

        Returns:
            int64 tensor of shape ``(count,)``.

        Raises:
            OptionError: the bound is out of range.
        """
        if not 1 <= bound <= 2**32:
            raise OptionError(f"bound must be in 1 … 2**32, got {bound}")
        limit = 2**32 - 2**32 % bound
        kept = np.empty(0, np.int64)
        while len(kept) < count:
            words = np.frombuffer(self.read(4 * (count - len(kept))), "<u4").astype(np.int64)
            kept = np.concatenate([kept, words[words < limit] % bound])
        return torch.from_numpy(kept)

    def uniform(self, *shape: int) -> Tensor:
        """The next numbers, uniform on the 2²⁴ odd multiples of 2⁻²⁴ in (−1, 1).

        Args:
            shape: the wanted shape.

        Returns:
            float32 tensor; every value is exact, and 0 and ±1 never occur. Variance ⅓.
        """
        words = np.frombuffer(self.read(4 * math.prod(shape)), "<u4").astype(np.int64)
        odd = 2 * (words >> 8) + 1 - 2**24
        # Odd multiples beyond 2²³ need 24 bits of mantissa: float32 has just that many.
        values = (odd.astype(np.float64) / 2.0**24).astype(np.float32)
        return torch.from_numpy(values).reshape(shape)
