"""How long to wait: between requests, and before one is repeated."""

from __future__ import annotations

import random
import time
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from modeldeed.suspects.answering.endpoint import Retries

__all__ = ["Clock", "Pace", "backoff", "retry_after"]


class Clock:
    """The time, waiting, and the randomness of waits; tests bring their own."""

    def __init__(self) -> None:
        self._random = random.SystemRandom()

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def now(self) -> datetime:
        """The present moment."""
        return datetime.now(timezone.utc)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def uniform(self) -> float:
        """A number in [0, 1)."""
        return self._random.random()


class Pace:
    """Keeps requests at most ``rate`` a second apart.

    Args:
        rate: requests a second; None for no bound.
        clock: the time.
    """

    def __init__(self, rate: float | None, clock: Clock) -> None:
        self._gap = 0.0 if rate is None else 1 / rate
        self._clock = clock
        self._next = 0.0

    def wait(self) -> None:
        """Wait until the next request may go."""
        now = self._clock.monotonic()
        if self._gap and now < self._next:
            self._clock.sleep(self._next - now)
            now = self._next
        self._next = now + self._gap


def backoff(retries: Retries, failures: int, asked_for: float | None, clock: Clock) -> float:
    """Seconds to wait after some failures: exponential back-off with full jitter.

    Args:
        retries: the configuration.
        failures: how many there were, at least 1.
        asked_for: what the endpoint asks for by ``Retry-After``; None if it does not.
        clock: for the jitter.

    Returns:
        At least what was asked for and at most ``retries.longest_wait``.
    """
    # The exponent is bounded since 2.0 ** 2000 is no number.
    most = min(retries.longest_wait, retries.first_wait * 2.0 ** min(failures - 1, 60))
    return min(retries.longest_wait, max(clock.uniform() * most, asked_for or 0.0))


def retry_after(header: str | None, clock: Clock) -> float | None:
    """The seconds of a ``Retry-After`` header (RFC 9110, 10.2.3); None without a usable one.

    Example:
        >>> retry_after("7", Clock()), retry_after("soon", Clock())
        (7.0, None)
    """
    if header is None or len(header) > 100:
        return None
    if header.strip().isascii() and header.strip().isdecimal():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - clock.now()).total_seconds())
