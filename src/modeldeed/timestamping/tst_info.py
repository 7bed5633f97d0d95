"""TSTInfo: what an authority signs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from modeldeed.errors import EvidenceError
from modeldeed.timestamping.der import (
    BOOLEAN,
    INTEGER,
    NULL,
    OCTET_STRING,
    SEQUENCE,
    Element,
    context,
    parse,
)

__all__ = ["DEFAULT_ACCURACY", "SHA256", "TstInfo", "algorithm"]

SHA256 = "2.16.840.1.101.3.4.2.1"

DEFAULT_ACCURACY = timedelta(seconds=1)
"""What is taken where a token states no accuracy: RFC 3161 lets times be whole seconds."""

_MOST_SECONDS = 10**9


@dataclass(frozen=True)
class TstInfo:
    """The fields of a TSTInfo that count.

    Attributes:
        policy: dotted object identifier.
        imprint: the 32 bytes that existed, a SHA-256.
        time: when they were signed, UTC, by the authority's clock.
        accuracy: how far that clock may be off, either way.
        nonce: the request's nonce; None without one.
    """

    policy: str
    imprint: bytes
    time: datetime
    accuracy: timedelta
    nonce: int | None

    @classmethod
    def from_der(cls, data: bytes) -> TstInfo:
        """Parse strictly.

        Raises:
            EvidenceError: it is no DER, another version, has an imprint of another hash, critical
                extensions, or unknown fields.
        """
        fields = parse(data, "TSTInfo").fields("TSTInfo")
        if fields.take().integer("TSTInfo version") != 1:
            raise EvidenceError("TSTInfo: only version 1 is known")
        policy = fields.take().oid("TSTInfo policy")
        imprint = _imprint(fields.take())
        fields.take().integer("TSTInfo serial number")
        time = fields.take().time("TSTInfo time")
        accuracy = fields.optional(SEQUENCE)
        ordering = fields.optional(BOOLEAN)
        if ordering is not None:
            ordering.boolean("TSTInfo ordering")
        nonce = fields.optional(INTEGER)
        fields.optional(context(0))  # the authority's own name for itself: the certificate counts
        extensions = fields.optional(context(1))
        fields.end()
        if extensions is not None:
            _refuse_critical(extensions)
        return cls(
            policy=policy,
            imprint=imprint,
            time=time,
            accuracy=DEFAULT_ACCURACY if accuracy is None else _accuracy(accuracy),
            nonce=None if nonce is None else nonce.integer("TSTInfo nonce"),
        )

    @property
    def earliest(self) -> datetime:
        """The first moment at which it can have been signed.

        Raises:
            EvidenceError: that lies outside of the calendar.
        """
        return self._moved(-self.accuracy)

    @property
    def latest(self) -> datetime:
        """The last moment at which it can have been signed.

        Raises:
            EvidenceError: that lies outside of the calendar.
        """
        return self._moved(self.accuracy)

    def _moved(self, by: timedelta) -> datetime:
        try:
            return self.time + by
        except OverflowError as error:
            raise EvidenceError("TSTInfo: its time lies outside of the calendar") from error


def algorithm(element: Element, what: str) -> str:
    """The identifier in an AlgorithmIdentifier without parameters.

    Raises:
        EvidenceError: it is malformed, or has parameters.
    """
    fields = element.fields(what)
    name = fields.take().oid(what)
    null = fields.optional(NULL)
    fields.end()
    if null is not None and null.content:
        raise EvidenceError(f"{what}: a NULL is not empty")
    return name


def _imprint(element: Element) -> bytes:
    fields = element.fields("message imprint")
    name = algorithm(fields.take(), "the message imprint's hash")
    digest = fields.take().expect(OCTET_STRING, "message imprint").content
    fields.end()
    if name != SHA256 or len(digest) != 32:
        raise EvidenceError(
            f"the message imprint must be a SHA-256 ({SHA256}), got {name} with {len(digest)} bytes"
        )
    return digest


def _accuracy(element: Element) -> timedelta:
    fields = element.fields("accuracy")
    seconds = fields.optional(INTEGER)
    whole = 0 if seconds is None else seconds.integer("accuracy in seconds")
    parts = []
    for number in (0, 1):
        part = fields.optional(context(number, constructed=False))
        value = 0
        if part is not None:
            value = Element(INTEGER, part.content, part.raw).integer("accuracy below a second")
        parts.append(value)
    fields.end()
    if not 0 <= whole <= _MOST_SECONDS or not all(0 <= part <= 999 for part in parts):
        raise EvidenceError("the accuracy of the timestamp is out of range")
    return timedelta(seconds=whole, milliseconds=parts[0], microseconds=parts[1])


def _refuse_critical(element: Element) -> None:
    for extension in element.fields("TSTInfo extensions", context(1)):
        fields = extension.fields("TSTInfo extension")
        name = fields.take().oid("TSTInfo extension")
        if fields.optional(BOOLEAN) is not None:
            raise EvidenceError(f"TSTInfo: unknown critical extension {name}")
        fields.take().expect(OCTET_STRING, "TSTInfo extension")
        fields.end()
