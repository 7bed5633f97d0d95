"""DER, the encoding of certificates and timestamps: a small writer and a strict reader.

No library: the reader of rfc3161-client gives back decoded fields, not the signed bytes that keys
are derived from, and its writer hashes the data itself and names no policy. Only what RFC 3161
needs is here; whatever is not in the one canonical form is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from modeldeed.errors import EvidenceError

__all__ = [
    "BIT_STRING",
    "BOOLEAN",
    "INTEGER",
    "NULL",
    "OBJECT_IDENTIFIER",
    "OCTET_STRING",
    "SEQUENCE",
    "SET",
    "TIME",
    "Element",
    "Elements",
    "context",
    "encode",
    "encode_integer",
    "encode_oid",
    "parse",
]

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OBJECT_IDENTIFIER = 1, 2, 3, 4, 5, 6
TIME, SEQUENCE, SET = 24, 0x30, 0x31
_TIME = re.compile(rb"(\d{14})(?:\.(\d{0,9}[1-9]))?Z")


def context(number: int, *, constructed: bool = True) -> int:
    """The tag byte of a context-specific field ``[number]``."""
    return (0xA0 if constructed else 0x80) | number


def encode(tag: int, *contents: bytes) -> bytes:
    """One element of a tag and joined contents."""
    content = b"".join(contents)
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def encode_integer(value: int) -> bytes:
    """A non-negative integer.

    Example:
        >>> encode_integer(128).hex()
        '02020080'
    """
    return encode(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def encode_oid(dotted: str) -> bytes:
    """An object identifier from its dotted form.

    Example:
        >>> encode_oid("1.2.840.113549").hex()
        '06062a864886f70d'
    """
    first, second, *rest = (int(part) for part in dotted.split("."))
    body = b""
    for arc in (40 * first + second, *rest):
        digits = [arc & 0x7F]
        while arc := arc >> 7:
            digits.append(0x80 | (arc & 0x7F))
        body += bytes(reversed(digits))
    return encode(OBJECT_IDENTIFIER, body)


@dataclass(frozen=True)
class Element:
    """One element.

    Attributes:
        tag: its one tag byte.
        content: the bytes inside.
        raw: all its bytes.
    """

    tag: int
    content: bytes
    raw: bytes

    def expect(self, tag: int, what: str) -> Element:
        """This element, if it has the tag.

        Raises:
            EvidenceError: it has another one.
        """
        if self.tag != tag:
            raise EvidenceError(f"{what}: expected tag {tag:#04x}, got {self.tag:#04x}")
        return self

    def fields(self, what: str, tag: int = SEQUENCE) -> Elements:
        """The elements inside.

        Raises:
            EvidenceError: it has another tag, or holds no whole elements.
        """
        self.expect(tag, what)
        return Elements(tuple(_split(self.content, what)), what)

    def integer(self, what: str) -> int:
        """An integer of at most 512 bits.

        Raises:
            EvidenceError: it is none, too long, or not in its shortest form.
        """
        data = self.expect(INTEGER, what).content
        spare = len(data) > 1 and data[0] in (0, 255) and (data[0] ^ data[1]) < 128
        if not 1 <= len(data) <= 65 or spare:
            raise EvidenceError(f"{what}: not a canonical integer")
        return int.from_bytes(data, "big", signed=True)

    def oid(self, what: str) -> str:
        """An object identifier, dotted.

        Raises:
            EvidenceError: it is none, too long, or not in its shortest form.
        """
        data = self.expect(OBJECT_IDENTIFIER, what).content
        if not 1 <= len(data) <= 64 or data[-1] >= 128:
            raise EvidenceError(f"{what}: not an object identifier")
        arcs, value, begun = [], 0, False
        for byte in data:
            if byte == 0x80 and not begun:
                raise EvidenceError(f"{what}: not a canonical object identifier")
            value, begun = value << 7 | byte & 0x7F, byte >= 128
            if not begun:
                arcs.append(value)
                value = 0
        first = min(arcs[0] // 40, 2)
        return ".".join(str(arc) for arc in (first, arcs[0] - 40 * first, *arcs[1:]))

    def boolean(self, what: str) -> bool:
        """A truth value that is not the default: DER writes no other.

        Raises:
            EvidenceError: it is anything but true.
        """
        if self.expect(BOOLEAN, what).content != b"\xff":
            raise EvidenceError(f"{what}: not a canonical truth value")
        return True

    def time(self, what: str) -> datetime:
        """A GeneralizedTime in UTC, to the microsecond below.

        Raises:
            EvidenceError: it is none, or not written as RFC 3161 wants it.
        """
        match = _TIME.fullmatch(self.expect(TIME, what).content)
        if match is None:
            raise EvidenceError(f"{what}: not a time of the form YYYYMMDDhhmmss[.s]Z")
        try:
            moment = datetime.strptime(match[1].decode(), "%Y%m%d%H%M%S")
        except ValueError as error:
            raise EvidenceError(f"{what}: {error}") from error
        micros = int((match[2] or b"0").decode().ljust(6, "0")[:6])
        return moment.replace(tzinfo=timezone.utc) + timedelta(microseconds=micros)


@dataclass
class Elements:
    """The fields of a structure, taken one after the other."""

    left: tuple[Element, ...]
    what: str

    def take(self) -> Element:
        """The next field.

        Raises:
            EvidenceError: there is none.
        """
        if not self.left:
            raise EvidenceError(f"{self.what}: a field is missing")
        first, *rest = self.left
        self.left = tuple(rest)
        return first

    def optional(self, tag: int) -> Element | None:
        """The next field if it has the tag."""
        return self.take() if self.left and self.left[0].tag == tag else None

    def end(self) -> None:
        """Require that nothing is left.

        Raises:
            EvidenceError: there are further fields.
        """
        if self.left:
            raise EvidenceError(f"{self.what}: unknown or misplaced fields follow")

    def __iter__(self) -> Iterator[Element]:
        return iter(self.left)

    def __len__(self) -> int:
        return len(self.left)


def parse(data: bytes, what: str) -> Element:
    """The one element that some bytes are.

    Raises:
        EvidenceError: they are none, or not exactly one.
    """
    elements = list(_split(data, what))
    if len(elements) != 1:
        raise EvidenceError(f"{what}: expected one element, got {len(elements)}")
    return elements[0]


def _split(data: bytes, what: str) -> Iterator[Element]:
    start = 0
    while start < len(data):
        head = data[start : start + 2]
        if len(head) < 2 or head[0] & 0x1F == 0x1F:
            raise EvidenceError(f"{what}: no DER: a tag is truncated or too large")
        size, begin = head[1], start + 2
        if size >= 128:
            digits = data[begin : begin + size - 128]
            size, begin = int.from_bytes(digits, "big"), begin + len(digits)
            # One shortest form each; an empty one would be BER's "until the end".
            if not 1 <= len(digits) <= 4 or digits[0] == 0 or size < 128:
                raise EvidenceError(f"{what}: no DER: a length is not in its shortest form")
        end = begin + size
        if end > len(data):
            raise EvidenceError(f"{what}: truncated: {end} bytes are needed, {len(data)} are there")
        yield Element(head[0], data[begin:end], data[start:end])
        start = end
