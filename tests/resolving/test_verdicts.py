"""Verdicts of claims and outcomes of disputes, over every small world."""

from __future__ import annotations

from itertools import product

import pytest

from modeldeed.resolving.verdicts import (
    Carrier,
    ClaimFindings,
    Decision,
    Examined,
    decide,
    outcome,
)
from modeldeed.resolving.words import Order, Presence, Relation, Standing, Void
from modeldeed.results import Verdict

V = Verdict
SAID = {verdict: Examined("L1", verdict, f"it is {verdict.value}") for verdict in Verdict}
LEVELS = (V.VERIFIED, V.NOT_VERIFIED, V.INCONCLUSIVE)
DATES = (Order.BEFORE, Order.AFTER, Order.UNKNOWN, None)


def findings(*verdicts: Verdict, **options: object) -> ClaimFindings:
    return ClaimFindings(examined=tuple(SAID[v] for v in verdicts), **options)  # type: ignore[arg-type]


def test_the_strongest_level_counts() -> None:
    for one, two in product(LEVELS, LEVELS):
        found = decide(findings(one, two)).verdict
        if V.VERIFIED in (one, two):
            assert found is V.VERIFIED
        elif V.INCONCLUSIVE in (one, two):
            assert found is V.INCONCLUSIVE
        else:
            assert found is V.NOT_VERIFIED


def test_nothing_examined_decides_nothing() -> None:
    found = decide(ClaimFindings())
    assert (found.verdict, found.presence) == (V.INCONCLUSIVE, Presence.UNDECIDED)


def test_invalid_evidence_stays_invalid_whatever_is_read() -> None:
    for verdict, standing, void in product(LEVELS, Standing, Void):
        given = findings(verdict, invalid=(void, "why"), standing=standing)
        assert decide(given) == Decision(V.EVIDENCE_INVALID, "why", Presence.UNDECIDED, void)


def test_a_needed_aligned_reading_makes_a_denial_inconclusive() -> None:
    for verdict in LEVELS:
        found = decide(findings(verdict, aligned_missing="not made")).verdict
        assert found is (V.INCONCLUSIVE if verdict is V.NOT_VERIFIED else verdict)


@pytest.mark.parametrize("verdict", LEVELS)
@pytest.mark.parametrize("presence", Presence)
@pytest.mark.parametrize("dates", DATES)
def test_other_carriers(verdict: Verdict, presence: Presence, dates: Order | None) -> None:
    found = decide(findings(verdict, carriers=(Carrier("old", presence, dates),)))
    if presence is not Presence.PRESENT or dates is Order.AFTER:
        assert found == decide(findings(verdict))
    elif dates is Order.BEFORE:
        assert (found.verdict, found.void) == (V.EVIDENCE_INVALID, Void.EARLIER_CARRIER)
        assert "old" in found.reason
    elif verdict is V.VERIFIED:
        assert found.verdict is V.INCONCLUSIVE
        assert "old" in found.reason
    else:
        assert found.verdict is verdict


def test_a_deed_must_be_older_than_a_dated_suspect() -> None:
    for verdict, standing in product(LEVELS, Standing):
        found = decide(findings(verdict, standing=standing))
        good = standing in (Standing.BEFORE, Standing.NOT_ASKED)
        if verdict is V.VERIFIED and not good:
            assert (found.verdict, found.presence) == (V.INCONCLUSIVE, Presence.PRESENT)
        else:
            assert found.verdict is verdict
    later = decide(findings(V.VERIFIED, standing=Standing.LATER))
    assert later.reason.startswith("mark present, dated later")


def test_withholding_a_late_timestamp_helps_nobody() -> None:
    """A claim without a date is judged no better than one whose date is too late."""
    late = decide(findings(V.VERIFIED, standing=Standing.LATER)).verdict
    undated = decide(findings(V.VERIFIED, standing=Standing.OPEN)).verdict
    assert late is undated


def test_the_order_of_carriers_and_levels_does_not_matter() -> None:
    carriers = tuple(
        Carrier(f"{presence.value} {dates}", presence, dates)
        for presence, dates in product(Presence, DATES)
    )
    for cut in range(len(carriers)):
        turned = (*carriers[cut:], *carriers[:cut])
        assert decide(findings(V.VERIFIED, carriers=turned)) == decide(
            findings(V.VERIFIED, carriers=carriers)
        )


def decided(*verdicts: Verdict) -> list[Decision]:
    return [Decision(verdict, "", Presence.UNDECIDED) for verdict in verdicts]


def test_the_outcome_over_all_small_disputes() -> None:
    for count in (1, 2, 3):
        for verdicts in product(V, repeat=count):
            for relations in ([], [Relation.MERGE], [Relation.CONFLICT], [Relation.ORDER_UNKNOWN]):
                found = outcome(decided(*verdicts), relations)
                if {Relation.CONFLICT, Relation.ORDER_UNKNOWN} & set(relations):
                    assert found is V.INCONCLUSIVE
                elif V.VERIFIED in verdicts:
                    assert found is V.VERIFIED
                elif V.INCONCLUSIVE in verdicts:
                    assert found is V.INCONCLUSIVE
                elif V.NOT_VERIFIED in verdicts:
                    assert found is V.NOT_VERIFIED
                else:
                    assert found is V.EVIDENCE_INVALID


def test_a_void_claim_changes_no_outcome() -> None:
    for verdicts in product(V, repeat=2):
        alone = outcome(decided(*verdicts), [])
        assert outcome(decided(*verdicts, V.EVIDENCE_INVALID), []) is alone
