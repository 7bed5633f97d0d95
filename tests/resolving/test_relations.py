"""The table of relations, over every small world."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldeed.resolving.relations import (
    ClaimFacts,
    PairFacts,
    Related,
    related,
    relation_of_pair,
    turned,
)
from modeldeed.resolving.words import Order, Presence, Relation, Void

BOTH = (False, True)
ALL_PAIRS = [
    PairFacts(*values) for values in product(Order, Presence, Presence, BOTH, BOTH, BOTH, BOTH)
]
DIRECTED = (Relation.UPSTREAM, Relation.LICENSED)


def down(facts: PairFacts) -> bool:
    return facts.first_in_second is Presence.PRESENT or facts.second_names_first


def up(facts: PairFacts) -> bool:
    return down(turned(facts))


def test_there_are_all_small_worlds() -> None:
    assert len(set(ALL_PAIRS)) == 3 * 3 * 3 * 2**4


def test_turning_twice_changes_nothing() -> None:
    for facts in ALL_PAIRS:
        assert turned(turned(facts)) == facts


def test_the_order_of_the_arguments_never_matters() -> None:
    for facts in ALL_PAIRS:
        one = relation_of_pair("a", "b", facts)
        other = relation_of_pair("b", "a", turned(facts))
        assert one == other, facts


def test_the_table() -> None:
    """The rule, written down a second time and slowly."""
    for facts in ALL_PAIRS:
        found = relation_of_pair("a", "b", facts)
        if down(facts) and up(facts):
            wanted = Relation.ORDER_UNKNOWN if facts.dates is Order.UNKNOWN else Relation.CONFLICT
        elif not down(facts) and not up(facts):
            undecided = Presence.UNDECIDED in (facts.first_in_second, facts.second_in_first)
            wanted = Relation.ORDER_UNKNOWN if undecided else Relation.MERGE
        else:
            seen = facts if down(facts) else turned(facts)
            first = "a" if down(facts) else "b"
            if seen.dates is Order.AFTER:
                wanted = Relation.CONFLICT
            elif seen.second_licensed:
                wanted = Relation.LICENSED
            elif seen.dates is Order.BEFORE:
                wanted = Relation.UPSTREAM
            else:
                wanted = Relation.ORDER_UNKNOWN
            if wanted in DIRECTED:
                assert found.claims[0] == first, facts
        assert found.relation is wanted, facts


def test_upstream_needs_dates_or_a_licence_and_never_contradicts_dates() -> None:
    for facts in ALL_PAIRS:
        found = relation_of_pair("a", "b", facts)
        seen = facts if found.claims[0] == "a" else turned(facts)
        if found.relation is Relation.UPSTREAM:
            assert seen.dates is Order.BEFORE
        if found.relation in DIRECTED:
            assert down(seen)
            assert not up(seen)
            assert seen.dates is not Order.AFTER


def test_presence_alone_never_orders() -> None:
    for dates in Order:
        found = relation_of_pair("a", "b", PairFacts(dates=dates))
        assert found.relation is Relation.MERGE


def test_a_licence_turns_nothing_round() -> None:
    """A licence given to the upstream claim says nothing."""
    facts = PairFacts(Order.BEFORE, Presence.PRESENT, first_licensed=True)
    assert relation_of_pair("a", "b", facts).relation is Relation.UPSTREAM


CLAIMS = st.builds(
    ClaimFacts,
    name=st.just(""),
    presence=st.sampled_from(Presence),
    void=st.one_of(st.none(), st.sampled_from(Void)),
)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[ClaimFacts], dict[tuple[str, str], PairFacts]]:
    names = [f"claim {n}" for n in range(draw(st.integers(0, 5)))]
    claims = [
        ClaimFacts(name, found.presence, found.void) for name in names for found in [draw(CLAIMS)]
    ]
    pairs = {(a, b): draw(st.sampled_from(ALL_PAIRS)) for a in names for b in names if a < b}
    return claims, pairs


@given(worlds(), st.randoms(use_true_random=False))
def test_shuffled_claims_relate_alike(
    world: tuple[list[ClaimFacts], dict[tuple[str, str], PairFacts]], random: object
) -> None:
    claims, pairs = world
    shuffled = list(claims)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    other = {
        (b, a): turned(facts) if random.random() < 0.5 else facts  # type: ignore[attr-defined]
        for (a, b), facts in pairs.items()
    }
    # Whichever way round a pair is known, it is the same pair.
    other = {(b, a): turned(facts) for (a, b), facts in pairs.items()}
    assert related(claims, pairs) == related(shuffled, other)


def of(found: tuple[Related, ...], names: set[str]) -> list[Related]:
    """Relations of some claims among themselves, but who is the only one."""
    return [r for r in found if set(r.claims) <= names and r.relation is not Relation.ONLY]


@given(worlds())
def test_worthless_claims_blur_nothing(
    world: tuple[list[ClaimFacts], dict[tuple[str, str], PairFacts]],
) -> None:
    claims, pairs = world
    present = [c for c in claims if c.void is None and c.presence is Presence.PRESENT]
    names = {claim.name for claim in present}
    assert of(related(claims, pairs), names) == of(related(present, pairs), names)
    only = [r for r in related(claims, pairs) if r.relation is Relation.ONLY]
    assert (len(only) == 1) == (len(present) == 1)


@given(worlds())
def test_every_relation_names_known_claims_and_every_void_one_is_named(
    world: tuple[list[ClaimFacts], dict[tuple[str, str], PairFacts]],
) -> None:
    claims, pairs = world
    found = related(claims, pairs)
    for relation in found:
        assert set(relation.claims) <= {claim.name for claim in claims}
        assert relation.reason
    for claim in claims:
        own = [r.relation for r in found if r.claims == (claim.name,)]
        if claim.void is not None:
            assert own == [Relation.of_void(claim.void)]


@pytest.mark.parametrize(
    ("relation", "words"),
    [
        (Relation.ONLY, "only acme"),
        (Relation.UPSTREAM, "acme upstream of beta"),
        (Relation.LICENSED, "acme upstream of beta, licensed"),
        (Relation.CONFLICT, "conflict"),
        (Relation.MERGE, "both present, references independent (merge)"),
        (Relation.ORDER_UNKNOWN, "order unknown"),
        (Relation.UNRELATED, "unrelated"),
        (Relation.VOID_EARLIER_CARRIER, "void (earlier carrier)"),
        (Relation.VOID_FORGED, "void (forged)"),
        (Relation.VOID_ALTERED, "void (altered)"),
    ],
)
def test_the_words_are_fixed(relation: Relation, words: str) -> None:
    assert relation.worded("acme", "beta") == words
    assert relation.worded("A", "B") == relation.value


def test_a_name_with_the_letters_in_it_is_kept() -> None:
    assert Relation.LICENSED.worded("BETA of B", "A") == "BETA of B upstream of A, licensed"


def test_no_word_accuses_anybody() -> None:
    words = " ".join(str(word.value) for kind in (Relation, Void, Presence) for word in kind)
    for facts in ALL_PAIRS:
        words += relation_of_pair("a", "b", facts).reason
    assert not re.search(r"(?i)pirat|thie|stole|steal|theft", words)
