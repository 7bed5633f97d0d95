"""How much a file of evidence may hold: whoever reads it keeps a record of each fault in it."""

from __future__ import annotations

from modeldeed.errors import EvidenceError

__all__ = ["MAX_VALUES", "require_few_values"]

MAX_VALUES = 100_000
"""Many times what ten thousand files and all marks together take."""


def require_few_values(data: bytes, what: str) -> None:
    """Refuse JSON of so many values that describing its faults would exhaust the memory.

    Args:
        data: not parsed yet. Commas are counted, those within texts too.
        what: it is, for the message.

    Raises:
        EvidenceError: there are more than `MAX_VALUES`.

    Example:
        >>> require_few_values(b"[1, 2]", "list")
    """
    if data.count(b",") >= MAX_VALUES:
        raise EvidenceError(f"the {what} holds more than {MAX_VALUES} values; no such one is made")
