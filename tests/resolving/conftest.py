"""A small world of claimants, made once: two authorities, an owner, and those after him."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from modeldeed.trust import Trust
from tests.resolving.world import (
    Party,
    State,
    anchored,
    days,
    host,
    issued,
    owner,
    party,
    planted,
    state_of,
    trusting,
)
from tests.timestamping.authorities import LocalAuthority, make_authority


@dataclass(frozen=True)
class World:
    """What all scenarios are made of.

    Attributes:
        folder: of files that parties made before any dispute.
        authorities: two, of one policy each.
        trust: in both of them.
        bare: the unmarked model that acme began with.
        acme: the first owner; anchored, dated by both authorities.
        beta: took acme's model and put a second mark over it, later.
        other: the owner of an unrelated model of the same form.
        plain: undated and unanchored, of a third model.
    """

    folder: Path
    authorities: tuple[LocalAuthority, LocalAuthority]
    trust: Trust
    bare: State
    acme: Party
    beta: Party
    other: Party
    plain: Party

    def dates(self, day: float) -> list[tuple[LocalAuthority, object]]:
        return [(authority, days(day)) for authority in self.authorities]


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    one = make_authority(folder, "one", policy="1.2.3.4.1")
    two = make_authority(folder, "two", policy="1.2.3.4.2")

    def both(day: float) -> list[tuple[LocalAuthority, object]]:
        return [(one, days(day)), (two, days(day))]

    bare = state_of(host(1))
    first = anchored(issued(bare, owner(1)), owner(1), one, days(-2))
    marked = planted(bare, first, owner(1))
    acme = party(folder, "acme", owner(1), marked, first, both(0))
    acme.unmarked = bare
    over = issued(marked, owner(2))
    beta = party(folder, "beta", owner(2), planted(marked, over, owner(2)), over, both(30))
    apart = state_of(host(2))
    own = issued(apart, owner(3))
    other = party(folder, "other", owner(3), planted(apart, own, owner(3)), own, both(10))
    third = state_of(host(3))
    bit = issued(third, owner(4))
    plain = party(folder, "plain", owner(4), planted(third, bit, owner(4)), bit)
    return World(folder, (one, two), trusting(one, two), bare, acme, beta, other, plain)
