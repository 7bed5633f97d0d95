"""The page "What a judge can rely on": its figures are computed, its forgeries are all there."""

from __future__ import annotations

import math
import re
from pathlib import Path

from modeldeed.attacks import forgery
from modeldeed.statistics import (
    BLACK_BOX,
    Budget,
    MatchTest,
    information_limit,
    required_matches,
)

PAGE = Path(__file__).resolve().parents[3] / "docs" / "judging.md"
ASKED = Budget(alpha_log2=20, grinding_log2=20)


def numbers(name: str) -> list[list[int]]:
    """The body of a marked table."""
    text = PAGE.read_text(encoding="utf-8").partition(f"<!-- budget:{name} -->")[2]
    lines = text.partition("<!-- /budget -->")[0].strip().splitlines()[2:]
    return [[int(cell.replace(",", "")) for cell in line.strip("|").split("|")] for line in lines]


def right_answers(classes: int, budget: Budget) -> int:
    test = MatchTest(classes, budget)
    while test.decision is None:
        test.update(True)
    return test.queries


def test_the_budgets_of_weights_are_computed() -> None:
    table = numbers("weights")
    assert [bits for bits, *_ in table] == [672, 1_152, 4_800]
    for bits, plain, dated in table:
        assert required_matches(bits, Budget()) == plain
        assert required_matches(bits, Budget(grinding_log2=20)) == dated


def test_the_budgets_of_answers_are_computed() -> None:
    table = numbers("answers")
    assert [classes for classes, *_ in table] == [10, 2]
    for classes, *figures in table:
        found = []
        for budget in (BLACK_BOX, ASKED):
            found += [math.ceil(information_limit(classes, budget))]
            found += [right_answers(classes, budget)]
        assert found == figures


def _part(text: str) -> str:
    return text.partition("What each of them does")[2].partition("## Forged deeds and files")[0]


def test_every_forgery_is_described_once() -> None:
    text = PAGE.read_text(encoding="utf-8")
    first = re.findall(r"^\| ([a-z, -]+) \|", _part(text), re.M)
    described = []
    for cell in first:
        parts = cell.split(", ")
        stem = parts[0].rpartition("-")[0]
        described += [p if not p.startswith("-") else stem + p for p in parts]
    assert sorted(described) == forgery.names()


def test_the_table_has_a_place() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count("<!-- cards:forgery:begin -->") == 1
    assert text.index("<!-- cards:forgery:begin -->") < text.index("<!-- cards:forgery:end -->")
