"""The match test: what closes it, what does not, and the figures of SOUNDNESS.md."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldeed.errors import OptionError
from modeldeed.results import Verdict
from modeldeed.statistics import (
    BLACK_BOX,
    LN2,
    Budget,
    MatchTest,
    log_e_absent_path,
    log_e_path,
)
from tests.statistics.oracle import absent_rates, least_rate, log_e_value, present_rates

ANCHORED = Budget(alpha_log2=20, grinding_log2=20)


def run(test: MatchTest, outcomes: str) -> MatchTest:
    """Feed matches (+), mismatches (-) and refusals (?) until the test closes."""
    for outcome in outcomes:
        if test.decision is not None:
            break
        if outcome == "?":
            test.refuse()
        else:
            test.update(outcome == "+")
    return test


@pytest.mark.parametrize(
    ("classes", "budget", "needed"),
    [(10, BLACK_BOX, 27), (10, ANCHORED, 14), (2, BLACK_BOX, 90), (2, ANCHORED, 45)],
)
def test_the_published_numbers_of_perfect_answers(
    classes: int, budget: Budget, needed: int
) -> None:
    test = run(MatchTest(classes, budget, planned=1000), "+" * 1000)
    assert (test.decision, test.queries) == (Verdict.VERIFIED, needed)
    # By the definition, not by the code: enough, and one fewer is not.
    logs = [
        log_e_value(present_rates(classes), Fraction(1, classes), count, count) / LN2
        for count in (needed - 1, needed)
    ]
    assert logs[0] < budget.e_threshold_log2 <= logs[1]


def test_every_further_reading_is_paid_for() -> None:
    once, often = MatchTest(10), MatchTest(10, Budget(alpha_log2=20, readings=8))
    assert often.log_e_threshold - once.log_e_threshold == pytest.approx(math.log(8))
    assert run(often, "+" * 60).queries == 28


@given(st.lists(st.booleans(), max_size=60), st.sampled_from([2, 10, 1000]))
def test_incremental_and_vectorized_courses_agree(matched: list[bool], classes: int) -> None:
    test = MatchTest(classes, Budget(alpha_log2=20, grinding_log2=500), planned=1000)
    present, absent = [], []
    for outcome in matched:
        if test.decision is not None:
            break
        test.update(outcome)
        present.append(test.log_e)
        absent.append(test.log_e_absent)
    told = np.array(matched[: len(present)], bool)
    assert log_e_path(told, classes).tolist() == present
    assert log_e_absent_path(told, classes).tolist() == absent


def test_many_transcripts_at_once_are_single_ones_side_by_side() -> None:
    outcomes = np.random.default_rng(0).random((3, 4, 50)) < 0.4
    together = log_e_path(outcomes, 10)
    assert together.shape == outcomes.shape
    assert together[2, 1].tolist() == log_e_path(outcomes[2, 1], 10).tolist()
    rates = absent_rates(10)
    last = log_e_value(rates, least_rate(10), int(outcomes[0, 0].sum()), 50)
    assert log_e_absent_path(outcomes, 10)[0, 0, -1] == pytest.approx(last, abs=1e-12)


def test_chance_is_not_verified() -> None:
    test = run(MatchTest(10), "---------+" * 6)
    assert test.decision is Verdict.NOT_VERIFIED
    assert test.log_e_absent >= math.log(1000)
    before = run(MatchTest(10), ("---------+" * 6)[: test.queries - 1])
    assert before.decision is None
    assert before.log_e_absent < math.log(1000)


def test_the_first_that_closes_decides() -> None:
    """Each of these transcripts would close the other way, had it begun otherwise."""
    assert run(MatchTest(10, planned=200), "+" * 40 + "-" * 100).decision is Verdict.VERIFIED
    assert run(MatchTest(10, planned=200), "-" * 40 + "+" * 100).decision is Verdict.NOT_VERIFIED
    late = log_e_path([False] * 40 + [True] * 100, 10)[-1]
    assert late > MatchTest(10).log_e_threshold


def test_used_up_triggers_leave_it_open() -> None:
    test = run(MatchTest(10, planned=20), "+" * 40)
    assert (test.decision, test.queries) == (Verdict.INCONCLUSIVE, 20)


def test_the_last_trigger_can_still_decide() -> None:
    assert run(MatchTest(10, planned=27), "+" * 27).decision is Verdict.VERIFIED
    assert run(MatchTest(10, planned=26), "+" * 27).decision is Verdict.INCONCLUSIVE
    assert run(MatchTest(10, planned=28), "?" + "+" * 27).decision is Verdict.VERIFIED
    assert run(MatchTest(10, planned=27), "?" + "+" * 27).decision is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(("planned", "allowed"), [(64, 12), (65, 13), (5, 1), (4, 0), (168, 33)])
def test_more_than_a_fifth_of_the_planned_triggers_may_not_be_refused(
    planned: int, allowed: int
) -> None:
    """Early, late or in between: it is the same number."""
    test = run(MatchTest(1000, planned=planned), "?" * allowed)
    assert test.decision is None
    test.refuse()
    assert (test.decision, test.refused) == (Verdict.INCONCLUSIVE, allowed + 1)
    late = run(MatchTest(10, planned=planned), "+-" * 2 * (planned > 20) + "?" * (allowed + 1))
    assert late.decision is Verdict.INCONCLUSIVE


@given(st.text("+-?", max_size=40))
def test_a_refusal_is_no_evidence(outcomes: str) -> None:
    mixed = run(MatchTest(10, planned=1000), outcomes)
    plain = run(MatchTest(10, planned=1000), outcomes.replace("?", ""))
    assert (mixed.log_e, mixed.log_e_absent) == (plain.log_e, plain.log_e_absent)
    assert (mixed.matches, mixed.queries) == (plain.matches, plain.queries)
    assert mixed.decision is plain.decision


@pytest.mark.parametrize("outcomes", ["+" * 64, "-" * 64, "?" * 64, "+-" * 32])
def test_a_closed_test_stays_as_it_is(outcomes: str) -> None:
    test = run(MatchTest(10), outcomes)
    before = (test.decision, test.queries, test.refused, test.log_e)
    for change in (lambda: test.update(True), lambda: test.update(False), test.refuse):
        with pytest.raises(OptionError, match=f"closed as '{test.decision.value}' after"):
            change()
    assert (test.decision, test.queries, test.refused, test.log_e) == before


def test_impossible_plans_are_refused() -> None:
    with pytest.raises(OptionError, match="at least one planned trigger, got 0"):
        MatchTest(10, planned=0)
    with pytest.raises(OptionError, match="classes, got 1"):
        MatchTest(1)


@pytest.mark.parametrize("matched", [[0, 2], [0.5], True, [math.nan], ["yes"]])
def test_outcomes_that_are_no_outcomes_are_refused(matched: object) -> None:
    with pytest.raises(OptionError, match="rows of true and false, got an array of"):
        log_e_path(matched, 10)
