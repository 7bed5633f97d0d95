"""What no forgery touched verifies: without this, every refusal beside it would say nothing."""

from __future__ import annotations

from modeldeed import Verdict, verify
from tests.deed.forgeries.world import NONCE, Registered, World


def test_the_real_deed_verifies(world: World) -> None:
    report = verify(
        world.real.file,
        deed=world.real.deed,
        opening=world.real.opening(),
        trust=world.trust,
        nonce=NONCE,
        reference=world.real.file,
    )
    assert (report.verdict, report.anchored) == (Verdict.VERIFIED, True)
    assert world.real.deed.check(trust=world.trust).dated.word == "dated"


def test_so_do_the_two_deeds_that_forgers_borrow_from(
    world: World, other: Registered, theirs: Registered
) -> None:
    for each in (other, theirs):
        report = verify(
            each.file,
            deed=each.deed,
            opening=each.opening(),
            trust=world.trust,
            nonce=NONCE,
            reference=each.file,
        )
        assert report.verdict is Verdict.VERIFIED
