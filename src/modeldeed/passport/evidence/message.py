"""A short message in the signature bits, which survives that many of them flip.

Without a message the bits are b = u, u from the key's own stream. With one they are b = u · x,
where x ∈ {±1}ⁿ encodes the message. u is uniform and independent of everything else, of x too, so
b is uniform and independent of everything else whatever x is (a one-time pad): the null of the
signature stays exactly Binomial(n, ½). Nor is x a choice after the fact: the message is committed
to in the anchor, and u follows from the anchor, so another message means other bits u as well.

The code, ``words-rs/v1``: a Reed–Solomon code over bytes corrects symbols, and each of its N
symbols is one of 256 keyed pseudo-random words of L signs, found again by correlation with the
readings themselves, not with their signs. At the same length such words bear more flips than
repeating bits and voting does: 12 bytes in 1,200 bits survive a quarter of them flipped. The
least certain symbols are tried as erasures, and a candidate counts only if it opens the anchor's
256-bit commitment: chance never shows a message.

Reference:
    I. S. Reed, G. Solomon, "Polynomial Codes over Certain Finite Fields", J. SIAM 1960; words
    decoded by correlation: C. E. Shannon, "A Mathematical Theory of Communication", 1948.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from modeldeed.anchor import (
    MAX_MESSAGE_BYTES,
    MessageRule,
    Target,
    message_commitment,
)
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.streams import KeyStream

__all__ = [
    "Decoded",
    "capacity",
    "codewords_of",
    "commit_message",
    "decode",
    "encode",
    "require_message",
    "symbols_of",
]

MIN_WORD = 32
ROBUST_WORD = 64  # words this long bear a quarter of the bits flipped
_BYTES = 256


@dataclass(frozen=True)
class _Layout:
    """How n bits are divided: N symbols of L bits each; what is left over stays as it is."""

    size: int
    symbols: int
    word: int

    @classmethod
    def of(cls, bits: int, size: int) -> _Layout:
        symbols = size + max(2, -(-size // 2))
        return cls(size, symbols, bits // symbols)


def symbols_of(bits: int, size: int) -> int:
    """How many symbols the code of a message of ``size`` bytes has in n bits."""
    return _Layout.of(bits, size).symbols


def capacity(bits: int, word: int = MIN_WORD) -> int:
    """The longest message that n bits hold, in bytes of UTF-8.

    Args:
        bits: n.
        word: bits behind each symbol: 32 are the fewest allowed, 64 bear a quarter flipped.

    Returns:
        0 … 160.
    """
    sizes = range(MAX_MESSAGE_BYTES, 0, -1)
    return next((m for m in sizes if _Layout.of(bits, m).word >= word), 0)


def require_message(text: object, bits: int) -> bytes:
    """Refuse a message that the bits cannot hold, or that could not be shown as it is.

    Args:
        text: the message.
        bits: n, the number of signature bits.

    Returns:
        The message in UTF-8.

    Raises:
        OptionError: it is no text, is empty, too long for the bits, not in Unicode normal form C,
            or has characters that cannot be printed.
    """
    if not isinstance(text, str) or not text:
        raise OptionError(f"message is a text of at least one character, got {text!r}")
    # A control character could rewrite what a terminal shows; lone surrogates have no UTF-8.
    if not text.isprintable():
        raise OptionError(f"message: {text!r} has control or other characters without a print")
    if not unicodedata.is_normalized("NFC", text):
        raise OptionError(
            "message is not in Unicode normal form C; pass it through "
            "unicodedata.normalize('NFC', …)"
        )
    data = text.encode()
    if len(data) > capacity(bits):
        raise OptionError(
            f"message has {len(data)} bytes in UTF-8; the {bits} signature bits of this host hold "
            f"at most {capacity(bits)}, and at most {capacity(bits, ROBUST_WORD)} that are still "
            "read with a quarter of the bits flipped: shorten it"
        )
    return data


def commit_message(text: str, bits: int, seed: bytes, public_key: bytes) -> MessageRule:
    """What the anchor says about a message.

    Args:
        text: the message.
        bits: n.
        seed: the model's seed.
        public_key: the owner's identity.

    Raises:
        OptionError: see `require_message`.
    """
    data = require_message(text, bits)
    return MessageRule(size=len(data), commitment=message_commitment(data, seed, public_key))


def encode(key: bytes, message: bytes, bits: int) -> Tensor:
    """Write a message as signs that turn the signature bits.

    Args:
        key: the model key.
        message: UTF-8.
        bits: n.

    Returns:
        x, int8 ±1, shape ``(n,)``; +1 where the code does not reach.

    Raises:
        EvidenceError: the bits do not hold a message of this size.
    """
    layout = _checked(bits, len(message))
    symbols = torch.tensor(list(_reed_solomon(layout).encode(message)))
    signs = torch.ones(bits, dtype=torch.int8)
    used = _order(key, bits)[: layout.symbols * layout.word]
    signs[used] = _words(key, layout)[symbols].reshape(-1)
    return signs


def codewords_of(key: bytes, targets: Sequence[Target], message: str | None) -> list[Tensor] | None:
    """What a message turns in the bits of each layer.

    Args:
        key: the model key.
        targets: the canonical list.
        message: the message; None for none.

    Returns:
        int8 ±1 of shape ``(C,)`` for every layer, or None.

    Raises:
        EvidenceError: the layers do not hold a message of this size.
    """
    if message is None:
        return None
    signs = encode(key, message.encode(), sum(target.bits for target in targets))
    codewords = []
    for target in targets:
        codeword = torch.ones(target.channels, dtype=torch.int8)
        kept = torch.ones(target.channels, dtype=torch.bool)
        kept[list(target.left_out)] = False
        codeword[kept], signs = signs[: target.bits], signs[target.bits :]
        codewords.append(codeword)
    return codewords


@dataclass(frozen=True)
class Decoded:
    """A message, the symbols put right for it, and the bits that read against it."""

    message: bytes
    corrected: int
    flipped: int


def decode(
    key: bytes, margins: Tensor, size: int, accept: Callable[[bytes], bool]
) -> Decoded | None:
    """Find the message in readings of the bits.

    Args:
        key: the model key.
        margins: uᵢ cᵢ rᵢ, shape ``(n,)``; NaN where a bit cannot be read.
        size: bytes of the message.
        accept: tells the message from every other byte string.

    Returns:
        The message, the symbols that had to be corrected and the bits that read the other way;
        None when nothing is accepted.

    Raises:
        EvidenceError: the bits do not hold a message of this size.
    """
    layout = _checked(len(margins), size)
    used = _order(key, len(margins))[: layout.symbols * layout.word]
    soft = margins.double().nan_to_num(0.0)
    # One bit must not outvote many, however far somebody pushed its weights.
    limit = float(soft[soft != 0].abs().median().nan_to_num(1.0))
    soft = soft.clamp(-limit, limit)
    scores = soft[used].reshape(layout.symbols, -1) @ _words(key, layout).double().T
    best = scores.topk(2, dim=1)
    received = bytes(best.indices[:, 0].tolist())
    doubtful = (best.values[:, 0] - best.values[:, 1]).argsort().tolist()
    for message, whole in _candidates(layout, received, doubtful):
        if accept(message):
            corrected = sum(a != b for a, b in zip(received, whole, strict=True))
            flipped = int((encode(key, message, len(margins)) * soft <= 0).sum())
            return Decoded(message, corrected, flipped)
    return None


def _candidates(
    layout: _Layout, received: bytes, doubtful: list[int]
) -> Iterator[tuple[bytes, bytes]]:
    """Messages and their whole codewords, with ever more of the doubtful symbols erased."""
    # Imported here: most passports carry no message.
    from reedsolo import ReedSolomonError  # noqa: PLC0415

    code = _reed_solomon(layout)
    for erased in range(layout.symbols - layout.size + 1):
        try:
            message, whole, _ = code.decode(received, erase_pos=sorted(doubtful[:erased]))
        except (ReedSolomonError, ZeroDivisionError):
            continue
        yield bytes(message), bytes(whole)


def _reed_solomon(layout: _Layout) -> Any:
    from reedsolo import RSCodec  # noqa: PLC0415

    return RSCodec(layout.symbols - layout.size)


def _order(key: bytes, bits: int) -> Tensor:
    """A keyed order of the bits, so that the loss of a layer is spread over all symbols."""
    return KeyStream(key, "message", "order").uniform(bits).argsort(stable=True)


def _words(key: bytes, layout: _Layout) -> Tensor:
    return KeyStream(key, "message", "words").signs(_BYTES, layout.word)


def _checked(bits: int, size: int) -> _Layout:
    layout = _Layout.of(bits, size)
    if layout.word < MIN_WORD:
        raise EvidenceError(
            f"the anchor names a message of {size} bytes, which its {bits} bits do not hold"
        )
    return layout
