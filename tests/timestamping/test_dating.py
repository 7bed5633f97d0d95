"""What several timestamps say together."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldeed.timestamping import Authority, Dating, Stamp, effective, order

DAY = datetime(2024, 1, 1, tzinfo=timezone.utc)


def stamp(root: int, earliest: float, latest: float, name: str | None = None) -> Stamp:
    authority = Authority(name=name or f"A{root}", policy="1.2.3.4", root=f"{root:064x}")
    begin, end = (DAY + timedelta(seconds=s) for s in (earliest, latest))
    return Stamp(authority, begin, end, bytes(32), b"", b"", DAY + timedelta(days=999))


def interval(dating: Dating) -> tuple[float, float]:
    assert dating.earliest is not None
    assert dating.latest is not None
    return (dating.earliest - DAY).total_seconds(), (dating.latest - DAY).total_seconds()


def test_none_is_undated() -> None:
    assert effective([]) == Dating(None, None, (), "undated")


def test_one_authority_is_flagged_however_often_it_stamps() -> None:
    dating = effective([stamp(1, 10, 12), stamp(1, 4, 9), stamp(1, 5, 6, "other name")])
    assert dating.word == "dated, single authority"
    assert dating.authorities == ("A1",)
    assert interval(dating) == (4, 6)


def test_of_two_the_later_counts_and_of_three_the_second() -> None:
    first, second, third = stamp(1, 0, 2), stamp(2, 100, 102), stamp(3, 200, 202)
    assert interval(effective([first, second])) == (100, 102)
    three = effective([third, first, second])
    assert interval(three) == (100, 102)
    assert (three.word, three.authorities) == ("dated", ("A1", "A2", "A3"))


def test_one_authority_alone_cannot_date_back() -> None:
    honest = [stamp(1, 100, 101), stamp(2, 105, 106)]
    for back in (-(10**6), 0):
        begin, end = interval(effective([*honest, stamp(3, back, back + 1)]))
        assert (begin, end) == (100, 101)


STAMPS = st.lists(
    st.tuples(st.integers(1, 4), st.integers(0, 50), st.integers(0, 20)), min_size=1, max_size=6
)


@given(STAMPS)
def test_the_order_of_arguments_changes_nothing_and_the_interval_is_one(
    given_stamps: list[tuple[int, int, int]],
) -> None:
    stamps = [stamp(root, begin, begin + width) for root, begin, width in given_stamps]
    datings = {effective(list(order)) for order in itertools.islice(permuted(stamps), 24)}
    assert len(datings) == 1
    begin, end = interval(datings.pop())
    assert begin <= end


def permuted(stamps: list[Stamp]) -> itertools.permutations[tuple[Stamp, ...]]:
    return itertools.permutations(stamps)


@given(STAMPS, st.integers(0, 2**20))
def test_the_true_second_earliest_time_lies_in_the_interval(
    given_stamps: list[tuple[int, int, int]], seed: int
) -> None:
    """Choose a true time in each stamp's interval; the interval made of bounds holds its order."""
    times: dict[int, float] = {}
    stamps = []
    for number, (root, begin, width) in enumerate(given_stamps):
        stamps.append(stamp(root, begin, begin + width))
        true = begin + width * ((seed >> number) % 5) / 4
        times[root] = min(times.get(root, true), true)
    bounds = interval(effective(stamps))
    assert bounds[0] <= sorted(times.values())[min(2, len(times)) - 1] <= bounds[1]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 1), (2, 3), "before"),
        ((2, 3), (0, 1), "after"),
        ((0, 2), (1, 3), "unknown"),
        ((0, 1), (1, 2), "unknown"),
        ((0, 9), (3, 4), "unknown"),
        ((0, 1), None, "unknown"),
        (None, None, "unknown"),
    ],
)
def test_order(a: tuple[int, int] | None, b: tuple[int, int] | None, expected: str) -> None:
    first, second = (effective([stamp(1, *x)] if x else []) for x in (a, b))
    assert order(first, second) == expected
    mirrored = {"before": "after", "after": "before"}
    assert order(second, first) == mirrored.get(expected, expected)
