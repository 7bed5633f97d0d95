"""Parsing JSON that evidence may consist of: one meaning, no floats, no doubt."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from typing import Any

from modeldeed.errors import EvidenceError

__all__ = ["strict_json"]

_MOST_SHOWN = 100


def strict_json(data: bytes) -> Any:
    """Parse JSON that evidence may consist of.

    Raises:
        EvidenceError: duplicate keys, floats, text not in Unicode normal form C, or no JSON.
    """
    try:
        value = json.loads(
            data,
            object_pairs_hook=_unique,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
        _refuse_odd_text(value)
    except (ValueError, RecursionError) as error:
        if isinstance(error, EvidenceError):
            raise
        raise EvidenceError(f"not a JSON document: {type(error).__name__}: {error}") from error
    return value


def _refuse_odd_text(value: Any) -> None:
    if isinstance(value, str) and not unicodedata.is_normalized("NFC", value):
        raise EvidenceError(
            f"evidence holds text that is not in Unicode normal form C: {_shown(value)}"
        )
    if isinstance(value, dict):
        for name, item in value.items():
            _refuse_odd_text(name)
            _refuse_odd_text(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_odd_text(item)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = sorted(_shown(name) for name, count in counts.items() if count > 1)[:10]
        raise EvidenceError(f"the same field stands twice in one object: {', '.join(twice)}")
    return fields


def _refuse_number(text: str) -> Any:
    raise EvidenceError(f"evidence holds no floats, got {_begin(text)}")


def _shown(text: str) -> str:
    """The begin of a text, which may be as long as the file, in quotes."""
    return repr(_begin(text))


def _begin(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "…"
