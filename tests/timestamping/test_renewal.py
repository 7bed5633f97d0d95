"""Chains of renewals: each made while what it renews was good."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from modeldeed.errors import EvidenceError
from modeldeed.timestamping import request, token_of
from modeldeed.timestamping.renewal import check_renewals, renewal_imprint
from tests.timestamping.authorities import LocalAuthority, make_authority

UTC = timezone.utc
IMPRINT = hashlib.sha256(b"a deed").digest()
SIGNATURE = bytes(range(64))


def year(number: int) -> datetime:
    return datetime(number, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def locals_(tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalAuthority, LocalAuthority]:
    folder: Path = tmp_path_factory.mktemp("tsa")
    return (
        make_authority(folder, "Early", valid=(year(2000), year(2010))),
        make_authority(folder, "Late", valid=(year(2005), year(2020)), policy="1.2.3.4.2"),
    )


def test_the_imprint_is_what_the_documentation_says() -> None:
    parts = [SIGNATURE, b"one", b"two"]
    preimage = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    assert renewal_imprint(SIGNATURE, parts[1:]) == hashlib.sha256(preimage).digest()
    with pytest.raises(EvidenceError, match="no timestamp to renew"):
        renewal_imprint(SIGNATURE, [])


def test_a_chain(locals_: tuple[LocalAuthority, LocalAuthority]) -> None:
    early, late = locals_
    trusted = (local.trusted for local in locals_)  # any iterable, read once
    first = [early.token_at(IMPRINT, year(2003)), early.token_at(IMPRINT, year(2004))]
    second = [late.token_at(renewal_imprint(SIGNATURE, first), year(2009))]
    third = [late.token_at(renewal_imprint(SIGNATURE, first + second), year(2019))]
    stamps = check_renewals(IMPRINT, SIGNATURE, [first, second, third], trusted)
    assert [len(found) for found in stamps] == [2, 1, 1]
    assert stamps[0][0].latest == year(2003) + timedelta(seconds=1)
    assert stamps[2][0].expires == year(2020)


def test_a_renewal_after_expiry(locals_: tuple[LocalAuthority, LocalAuthority]) -> None:
    early, late = locals_
    first = [early.token_at(IMPRINT, year(2003))]
    second = [late.token_at(renewal_imprint(SIGNATURE, first), year(2011))]
    with pytest.raises(EvidenceError, match="after its certificate had expired at 2010-06-01"):
        check_renewals(IMPRINT, SIGNATURE, [first, second], [early.trusted, late.trusted])


def test_a_renewal_before_what_it_renews(locals_: tuple[LocalAuthority, LocalAuthority]) -> None:
    early, late = locals_
    first = [early.token_at(IMPRINT, year(2008))]
    second = [late.token_at(renewal_imprint(SIGNATURE, first), year(2006))]
    with pytest.raises(EvidenceError, match="older than what it renews"):
        check_renewals(IMPRINT, SIGNATURE, [first, second], [early.trusted, late.trusted])


def test_a_renewal_of_other_tokens(locals_: tuple[LocalAuthority, LocalAuthority]) -> None:
    early, late = locals_
    trusted = [early.trusted, late.trusted]
    first = [early.token_at(IMPRINT, year(2003)), early.token_at(IMPRINT, year(2004))]
    second = [late.token_at(renewal_imprint(SIGNATURE, first), year(2009))]
    for tokens in (first[:1], first[::-1]):
        with pytest.raises(EvidenceError, match="the timestamp is over"):
            check_renewals(IMPRINT, SIGNATURE, [tokens, second], trusted)
    with pytest.raises(EvidenceError, match="the timestamp is over"):
        check_renewals(IMPRINT, bytes(64), [first, second], trusted)
    with pytest.raises(EvidenceError, match="round 2 of the timestamps is empty"):
        check_renewals(IMPRINT, SIGNATURE, [first, []], trusted)


def test_rounds_hold_bare_tokens(locals_: tuple[LocalAuthority, LocalAuthority]) -> None:
    early, _ = locals_
    answer = early.stamp(request(IMPRINT), year(2003))
    with pytest.raises(EvidenceError, match="bare tokens"):
        check_renewals(IMPRINT, SIGNATURE, [[answer]], [early.trusted])
    assert check_renewals(IMPRINT, SIGNATURE, [[token_of(answer)]], [early.trusted])
