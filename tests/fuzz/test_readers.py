"""The readers under small budgets: good files with some edits, and JSON and DER of any shape.

``make fuzz`` runs the same targets for minutes, led by what the inputs cover.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, seeds

NAMES = sorted(TARGETS)
DICTIONARY = (
    b'"', b"{", b"}", b"[", b"]", b",", b"null", b"1e9", b"-1", b"\\ud800", b"\xff", b"\x00",
    b"\x30\x80", b"\xa0\x00", b"\x02\x01\x00", "\u202e".encode(), b"9" * 5000,
)  # fmt: skip


@st.composite
def edited(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """A good file after up to eight edits: flips, cuts, repeats, and pieces of syntax."""
    data = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(0, 8))):
        place = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from((0, 1, 2, 8, 64)))
        piece = draw(
            st.one_of(
                st.sampled_from(DICTIONARY),
                st.binary(max_size=4),
                st.just(bytes(data[place : place + length]) * 2),
            )
        )
        data[place : place + length] = piece
    return bytes(data)


@pytest.mark.parametrize("name", NAMES)
def test_good_files_are_read(name: str) -> None:
    """The seeds are good: a target that refused all of them would find nothing."""
    from tests.fuzz import targets

    for data in seeds(name):
        getattr(targets, name)(data)


@pytest.mark.parametrize("name", NAMES)
def test_edited_files_raise_nothing_else(name: str) -> None:
    originals = seeds(name)

    @settings(max_examples=60)
    @given(edited(originals))
    def run(data: bytes) -> None:
        TARGETS[name](data)

    run()


def values() -> st.SearchStrategy[object]:
    """JSON values with the odd ones among them."""
    leaf = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
        st.integers(min_value=2**53), st.sampled_from(("0" * 64, "AAAA", "modeldeed-deed/v1")),
    )  # fmt: skip
    return st.recursive(
        leaf,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
        ),
        max_leaves=8,
    )


def replaced_somewhere(draw: Callable[..., object], value: object, depth: int = 0) -> object:
    """A JSON value with one of its parts, at any depth, exchanged for another."""
    if depth and draw(st.integers(0, 2)) == 0:
        return draw(values())
    if isinstance(value, dict) and value:
        key = draw(st.sampled_from(sorted(value)))
        if draw(st.integers(0, 9)) == 0:
            return {k: v for k, v in value.items() if k != key}
        return {**value, str(key): replaced_somewhere(draw, value[key], depth + 1)}
    if isinstance(value, list) and value:
        place = int(str(draw(st.integers(0, len(value) - 1))))
        changed = replaced_somewhere(draw, value[place], depth + 1)
        return [*value[:place], changed, *value[place + 1 :]]
    return draw(values())


@pytest.mark.parametrize(
    "name",
    ["statement", "opening", "manifest", "countersignature", "trust", "index", "envelope"],
)
def test_any_value_in_any_place_raises_nothing_else(name: str) -> None:
    """What no edit of bytes hits: well-formed JSON whose values are of another type or range."""
    originals = [json.loads(data) for data in seeds(name)]

    @settings(max_examples=60)
    @given(st.data())
    def run(data: st.DataObject) -> None:
        original = data.draw(st.sampled_from(originals))
        TARGETS[name](json.dumps(replaced_somewhere(data.draw, original)).encode())

    run()
