"""Responses: what is an answer, what is a refusal, and what is neither."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldeed.errors import SuspectError
from modeldeed.suspects.answering.endpoint_formats import ResponseFormat
from modeldeed.suspects.answering.responses import parse_answers
from modeldeed.suspects.answering.suspect import Answers

NAMES = {"ant": 0, "bee": 1}


def parse(value: Any, path: str, kind: Any, count: int) -> Answers:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return parse_answers(data, ResponseFormat(path=path, kind=kind), NAMES, count, "endpoint")


LABELS: list[tuple[Any, str, int, tuple[int | None, ...]]] = [
    ({"a": {"b": [1, 2]}}, "a.b", 2, (1, 2)),
    ({"a": 4}, "a", 1, (4,)),
    ([{"l": 1}, {"l": 0}], "*.l", 2, (1, 0)),
    ([[{"l": 1}, {"l": 9}], [{"l": 0}, {"l": 9}]], "*.0.l", 2, (1, 0)),
    ({"outputs": [{"data": [3.0, 2.0]}]}, "outputs.0.data", 2, (3, 2)),
    ([[3], [2]], "", 2, (3, 2)),
    ([3, None], "", 2, (3, None)),
    (None, "", 1, (None,)),
    ([math.nan], "", 1, (None,)),
    ([-1, 10**9], "", 2, (-1, 10**9)),
    ({"0": [7]}, "0", 1, (7,)),
]


@pytest.mark.parametrize(("value", "path", "count", "labels"), LABELS)
def test_labels(value: Any, path: str, count: int, labels: tuple[int | None, ...]) -> None:
    found = parse(value, path, "labels", count)
    assert found.labels == labels
    assert found.probabilities is None
    assert all(type(label) in (int, type(None)) for label in found.labels)


def test_names_become_numbers_and_foreign_names_match_nothing() -> None:
    assert parse(["bee", "ant", "yak", None], "", "names", 4).labels == (1, 0, -1, None)


SCORES: list[tuple[Any, int, tuple[int | None, ...]]] = [
    ([0.1, 0.9], 1, (1,)),
    ([[0.1, 0.9]], 1, (1,)),
    ([[0.1, 0.9], [5, -3]], 2, (1, 0)),
    ([0.1, 0.9, 5, -3], 2, (1, 0)),
    ([[[0.1, 0.9], [5, -3]]], 2, (1, 0)),
    ([[0.1, None], [5, -3]], 2, (None, 0)),
    ([None, [5, -3]], 2, (None, 0)),
    ([[math.nan, 1], [math.inf, math.inf]], 2, (None, 0)),
    ([None, None], 2, (None, None)),
    (None, 1, (None,)),
]


@pytest.mark.parametrize(("value", "count", "labels"), SCORES)
def test_scores(value: Any, count: int, labels: tuple[int | None, ...]) -> None:
    assert parse(value, "", "probabilities", count).labels == labels


MALFORMED: list[tuple[Any, str, str, int, str]] = [
    (b"<html>", "", "labels", 1, "no JSON"),
    (b"\xff", "", "labels", 1, "no JSON"),
    (b"", "", "labels", 1, "body of 0 bytes"),
    (b"1" * 30, "", "labels", 1, "no JSON"),
    (b"[" * 100_000, "", "labels", 1, "answers what cannot be read"),
    ([True], "", "labels", 1, "got true or false"),
    (["3"], "", "labels", 1, "got a text"),
    ([3.5], "", "labels", 1, "got a decimal number"),
    ([math.inf], "", "labels", 1, "got a decimal number"),
    ([2**60], "", "labels", 1, "beyond"),
    ([1, 2], "", "labels", 1, "2 answers to 1 samples"),
    ([1], "", "labels", 2, "1 answers to 2 samples"),
    ({"a": 1}, "b", "labels", 1, "'b' is not in an object"),
    ([1], "5", "labels", 1, "'5' is not in a list"),
    ([1], "-1", "labels", 1, "'-1' is not in a list"),
    ({"a": 1}, "*", "labels", 1, "meets an object"),
    ([3], "", "names", 1, "class name was expected, got an integer"),
    ([["0.1", "0.9"]], "", "probabilities", 1, "score was expected, got a text"),
    ([[True, False]], "", "probabilities", 1, "score was expected, got true"),
    ([0.1, 0.2, 0.3], "", "probabilities", 2, "3 scores for 2 samples"),
    ([0.1, 0.2], "", "probabilities", 2, "2 or more"),
    ([[0.1, 0.2], [0.3]], "", "probabilities", 2, "2 or more"),
    ([[0.1, 0.2], 4], "", "probabilities", 2, "row of scores"),
    ([[1, 2], [1, 2], [1, 2]], "", "probabilities", 2, "3 rows of scores for 2"),
    (0.5, "", "probabilities", 1, "scores were expected"),
    ([[[1], [2]]], "", "probabilities", 1, "score was expected, got a list"),
]


@pytest.mark.parametrize(("value", "path", "kind", "count", "text"), MALFORMED)
def test_what_is_no_answer_is_said_and_not_quoted(
    value: Any, path: str, kind: str, count: int, text: str
) -> None:
    with pytest.raises(SuspectError, match=text) as raised:
        parse(value, path, kind, count)
    assert len(str(raised.value)) < 300


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=12,
)


@given(value=VALUES, kind=st.sampled_from(["labels", "probabilities", "names"]),
       path=st.sampled_from(["", "0", "*", "*.0", "a"]), count=st.integers(1, 3))  # fmt: skip
def test_whatever_comes_is_an_answer_or_a_suspect_error(
    value: Any, kind: str, path: str, count: int
) -> None:
    try:
        found = parse(value, path, kind, count)
    except SuspectError:
        return
    assert len(found) == count
    assert all(label is None or type(label) is int for label in found.labels)
