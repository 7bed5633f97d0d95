"""Responses of endpoints, taken apart without trusting them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from modeldeed.errors import SuspectError
from modeldeed.suspects.answering.endpoint_formats import ResponseFormat
from modeldeed.suspects.answering.suspect import Answers

__all__ = ["UNKNOWN_CLASS", "parse_answers"]

UNKNOWN_CLASS = -1
"""The label of a class name that is not among the given ones: an answer that matches none."""

_MOST_DIGITS = 20
_LARGEST = 2**53 - 1  # beyond, JSON numbers are not exact everywhere
_MOST_CLASSES = 10**6


class _MalformedError(ValueError):
    """A response that holds no answers as configured."""


def parse_answers(
    data: bytes, form: ResponseFormat, names: Mapping[str, int], count: int, label: str
) -> Answers:
    """Find the answers in a response.

    Args:
        data: the response's body, of limited size.
        form: where they stand and what they are.
        names: number of each class name, for that kind.
        count: samples that were asked about, at least 1.
        label: how the error calls the endpoint.

    Returns:
        One answer for each sample. null, or a score that is null or NaN, is a refusal. A class out
        of range is kept; a name that is not among ``names`` becomes `UNKNOWN_CLASS`.

    Raises:
        SuspectError: the body is no JSON, the path leads nowhere, or what is there is not of the
            configured kind, or of another number than ``count``. What was answered is not quoted.

    Example:
        >>> form = ResponseFormat(path="predictions.*.label", kind="labels")
        >>> data = b'{"predictions": [{"label": 3}, {"label": null}]}'
        >>> parse_answers(data, form, {}, 2, "endpoint").labels
        (3, None)
    """
    try:
        found = _at(_document(data), form.path.split(".") if form.path else [])
        if found is None and count == 1:
            return Answers((None,))
        if form.kind == "probabilities" and found != [None] * count:
            return Answers.of(_scores(found, count))
        read = _class_number if form.kind == "labels" else _class_name
        return Answers(tuple(read(entry, names) for entry in _entries(found, count)))
    except (_MalformedError, RecursionError) as error:
        raise SuspectError(
            f"{label} answers what cannot be read: {error}; the configuration expects "
            f"{form.kind} at {form.path or 'the top'!r} of a JSON document"
        ) from None


def _document(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8"), parse_int=_integer)
    except ValueError as error:
        kind = type(error).__name__
        raise _MalformedError(f"the body of {len(data)} bytes is no JSON ({kind})") from None


def _integer(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError("a number of too many digits")
    return int(text)


def _at(value: Any, path: Sequence[str]) -> Any:
    for place, part in enumerate(path):
        if part == "*":
            if not isinstance(value, list):
                raise _MalformedError(f"'*' meets {_kind(value)}, not a list")
            return [_at(entry, path[place + 1 :]) for entry in value]
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise _MalformedError(f"{part!r} is not in {_kind(value)}")
    return value


def _entries(found: Any, count: int) -> list[Any]:
    """One entry for each sample; a single one may stand without a list, or each in its own."""
    entries = found if isinstance(found, list) else [found]
    if len(entries) != count:
        raise _MalformedError(f"{len(entries)} answers to {count} samples")
    return [e[0] if isinstance(e, list) and len(e) == 1 else e for e in entries]


def _class_number(entry: Any, _: Mapping[str, int]) -> int | None:
    if isinstance(entry, float):
        if math.isnan(entry):
            return None
        # Tensors of FP32 carry classes as 3.0.
        entry = int(entry) if math.isfinite(entry) and entry.is_integer() else entry
    if entry is None:
        return None
    if isinstance(entry, bool) or not isinstance(entry, int):
        raise _MalformedError(f"a class number was expected, got {_kind(entry)}")
    if abs(entry) > _LARGEST:
        raise _MalformedError("a class number beyond ±(2**53 - 1)")
    return entry


def _class_name(entry: Any, names: Mapping[str, int]) -> int | None:
    if entry is None:
        return None
    if not isinstance(entry, str):
        raise _MalformedError(f"a class name was expected, got {_kind(entry)}")
    return names.get(entry, UNKNOWN_CLASS)


def _scores(found: Any, count: int) -> torch.Tensor:
    rows = _rows(found, count)
    widths = {len(row) for row in rows if row is not None}
    if len(widths) != 1 or not 2 <= min(widths) <= _MOST_CLASSES:
        raise _MalformedError(f"rows of {sorted(widths)[:4]} scores; all have the same, 2 or more")
    (width,) = widths
    filled = [[math.nan] * width if row is None else [_score(s) for s in row] for row in rows]
    return torch.tensor(filled, dtype=torch.float64)


def _rows(found: Any, count: int) -> list[list[Any] | None]:
    """A row for each sample: from a list of rows, or from one flat list of all their scores."""
    if not isinstance(found, list) or not found:
        raise _MalformedError(f"scores were expected, got {_kind(found)}")
    if any(isinstance(entry, list) for entry in found):
        if len(found) != count:
            # Some servers put one more list around everything.
            if len(found) == 1 and isinstance(found[0], list):
                return _rows(found[0], count)
            raise _MalformedError(f"{len(found)} rows of scores for {count} samples")
        for entry in found:
            if entry is not None and not isinstance(entry, list):
                raise _MalformedError(f"a row of scores was expected, got {_kind(entry)}")
        return list(found)
    if len(found) % count:
        raise _MalformedError(f"{len(found)} scores for {count} samples")
    width = len(found) // count
    return [found[start : start + width] for start in range(0, len(found), width)]


def _score(entry: Any) -> float:
    if entry is None:
        return math.nan
    if isinstance(entry, bool) or not isinstance(entry, int | float):
        raise _MalformedError(f"a score was expected, got {_kind(entry)}")
    return float(entry)


def _kind(value: Any) -> str:
    names = {
        dict: "an object", list: "a list", str: "a text", bool: "true or false",
        int: "an integer", float: "a decimal number",
    }  # fmt: skip
    return names.get(type(value), "null")
