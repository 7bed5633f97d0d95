"""Dates: back-dated deeds, replayed tokens, and authorities that are nobody."""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from modeldeed.deed import Deed
from modeldeed.errors import EvidenceError
from modeldeed.timestamping.renewal import renewal_imprint
from tests.deed.forgeries.world import ANCHORED, DATED, Registered, World, register
from tests.timestamping.authorities import make_authority
from tests.timestamping.cms import signer_info, token_der

YEARS = timedelta(days=3650)


def deed_with(world: World, *tokens: bytes) -> Deed:
    """The real deed with these timestamps, as a folder of a claimant would hold them."""
    return Deed.parse(world.real.deed.envelope.to_bytes(), tokens)


def require_refused(world: World, deed: Deed, match: str) -> None:
    with pytest.raises(EvidenceError, match=match):
        deed.check(trust=world.trust).require_valid()


def test_a_token_of_another_deed_is_not_one_of_this(world: World, other: Registered) -> None:
    """The oldest trick: last year's timestamp beside this year's deed."""
    require_refused(world, deed_with(world, *other.deed.tokens), "is over")
    with pytest.raises(EvidenceError, match="neither over this deed"):
        deed_with(world).accept(other.deed.tokens[0])


def test_the_token_of_the_anchor_does_not_date_the_deed(world: World) -> None:
    entry = world.real.deed.marks[0]
    assert entry.token is not None
    require_refused(world, deed_with(world, base64.b64decode(entry.token)), "is over")


def test_a_token_over_the_file_does_not_date_the_deed(world: World) -> None:
    """The envelope's file could be spelled otherwise; the imprint is not over it."""
    import hashlib

    for data in (world.real.deed.envelope.to_bytes(), world.real.deed.envelope.payload):
        token = world.authorities[0].token_at(hashlib.sha256(data).digest(), DATED - YEARS)
        require_refused(world, deed_with(world, token), "is over")


def test_a_date_in_the_statement_counts_for_nothing(world: World) -> None:
    """A back-dated deed: there is no field for a date, and none is taken."""
    for place in ("predicate", "top", "mark", "subject"):

        def dated(statement: dict[str, Any], place: str = place) -> None:
            where: dict[str, Any] = {
                "predicate": statement["predicate"], "top": statement,
                "mark": statement["predicate"]["marks"][0], "subject": statement["subject"][0],
            }[place]  # fmt: skip
            where["created"] = "2001-01-01T00:00:00Z"

        with pytest.raises(EvidenceError, match=r"malformed .*created"):
            Deed.parse(world.forged(dated))


def test_changing_the_genuine_time_breaks_the_token(world: World) -> None:
    token = world.real.deed.tokens[0]
    claimed = (DATED - YEARS).strftime("%Y%m%d").encode()
    genuine = DATED.strftime("%Y%m%d").encode()
    assert token.count(genuine) == 1
    require_refused(world, deed_with(world, token.replace(genuine, claimed)), "does not verify")


def test_a_new_deed_does_not_inherit_the_date_of_the_old(world: World) -> None:
    """The same words signed anew with one budget raised are another deed, undated."""

    def stricter(statement: dict[str, Any]) -> None:
        statement["predicate"]["marks"][0]["budget"]["alpha_log2"] = 65

    later = Deed.parse(world.forged(stricter), world.real.deed.tokens)
    assert later.digest != world.real.deed.digest
    require_refused(world, later, "is over")


def test_one_authority_alone_is_flagged_however_often_it_signs(world: World) -> None:
    first = world.authorities[0]
    early = first.token_at(world.real.deed.imprint, DATED - YEARS)
    found = deed_with(world, early, *world.real.deed.tokens[:1]).check(trust=world.trust)
    assert (found.dated.word, found.dated.authorities) == ("dated, single authority", ("One",))


def test_one_bribed_authority_cannot_date_a_deed_back(world: World) -> None:
    """With two, the second-earliest counts."""
    early = world.authorities[0].token_at(world.real.deed.imprint, DATED - YEARS)
    found = deed_with(world, early, *world.real.deed.tokens).check(trust=world.trust)
    assert found.dated.word == "dated"
    assert found.dated.earliest is not None
    assert abs(found.dated.earliest - DATED) < timedelta(seconds=5)


def test_authorities_of_ones_own_do_not_date(world: World, tmp_path: Path) -> None:
    """Also not with the policy and the names of a trusted one."""
    forger = make_authority(tmp_path, "One", policy=world.authorities[0].policy)
    token = forger.token_at(world.real.deed.imprint, DATED - YEARS)
    found = deed_with(world, token).check(trust=world.trust)
    assert (found.valid, found.dated.word) == (True, "undated")
    assert [look.word for look in found.timestamps][:1] == ["not counted"]


def test_a_forged_signature_under_a_genuine_certificate_is_invalid(
    world: World, tmp_path: Path
) -> None:
    forger, one = make_authority(tmp_path, "Forger"), world.authorities[0]
    good = one.token_at(world.real.deed.imprint, DATED)
    from modeldeed.timestamping.tokens import signed_info

    token = token_der(
        signed_info(good), [signer_info(signed_info(good), forger.signing)],
        [one.signing.certificate],
    )  # fmt: skip
    require_refused(world, deed_with(world, token), "does not verify")


def test_a_renewal_is_no_first_timestamp(world: World) -> None:
    """A token over the tokens dates nothing by itself, and none of another deed renews this."""
    real, one = world.real.deed, world.authorities[0]
    renewal = renewal_imprint(real.envelope.signature, real.tokens)
    token = one.token_at(renewal, DATED + timedelta(days=1))
    require_refused(world, deed_with(world, token), "is over")
    foreign = one.token_at(real.imprint, DATED + timedelta(days=1))
    wrong = Deed.parse(real.envelope.to_bytes(), real.tokens, [[foreign]])
    require_refused(world, wrong, "renewal")
    early = one.token_at(renewal, DATED - YEARS)
    require_refused(world, Deed.parse(real.envelope.to_bytes(), real.tokens, [[early]]), "older")


def test_an_anchor_is_not_dated_after_its_deed(world: World) -> None:
    """The key would have been ground after the deed was dated: with a token of another anchor."""
    late = register(
        world.real.owner, world.folder / "late", world.authorities, seed=3, label="late",
        dated=ANCHORED,
    )  # fmt: skip
    one = world.authorities[0]
    anchor = late.passport.manifest.anchor
    token = one.token_at(bytes.fromhex(anchor.digest), ANCHORED + YEARS)

    def moved(statement: dict[str, Any]) -> None:
        mark = late.deed.statement.predicate.marks[0].model_dump(mode="json")
        mark["token"] = base64.b64encode(token).decode()
        statement["predicate"]["marks"] = [mark]

    data = world.forged(moved)
    deed = Deed.parse(data)
    for authority in world.authorities:
        deed.accept(authority.stamp(deed.request(), DATED))
    require_refused(world, deed, "dated after the deed")


def test_the_anchor_s_token_is_over_this_anchor(world: World, other: Registered) -> None:
    def moved(statement: dict[str, Any]) -> None:
        for mark in statement["predicate"]["marks"]:
            mark["token"] = other.deed.marks[0].token

    require_refused(world, Deed.parse(world.forged(moved)), "timestamp of the anchor")


@pytest.mark.parametrize("text", ["AAAA", "not base64 at all", "MAA=", "TU\nFB"])
def test_an_anchor_s_token_is_base64_of_a_token(world: World, text: str) -> None:
    def moved(statement: dict[str, Any]) -> None:
        for mark in statement["predicate"]["marks"]:
            mark["token"] = text

    require_refused(world, Deed.parse(world.forged(moved)), "anchor")
