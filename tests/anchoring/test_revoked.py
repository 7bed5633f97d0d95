"""A stolen key: what its identity claims counts only if it is older than the revocation."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import torch

from modeldeed import Passport, TriggerSet, Verdict, query, verify
from modeldeed.errors import EvidenceError
from modeldeed.owner import Owner
from modeldeed.querying.query import rejudge
from modeldeed.trust import PinnedAuthority, Revocation, Trust
from tests.anchoring.conftest import AT, EXAMPLE, anchored, host, write_bits
from tests.querying.answerers import Knowing
from tests.timestamping.authorities import LocalAuthority

HOUR = timedelta(hours=1)
LATE = "revoked at .* and the anchor is not proven to be older"


def revoking(owner: Owner, hours_after_anchor: int, *authorities: LocalAuthority) -> Trust:
    since = Revocation(since=AT + hours_after_anchor * HOUR, reason="key stolen")
    pinned = [
        PinnedAuthority(name="one", policy=each.policy, certificates=each.trusted.to_pem().decode())
        for each in authorities
    ]
    revoked = {owner.identity.public_key.hex(): since}
    return Trust(revoked=revoked, authorities=tuple(pinned))


@pytest.fixture(scope="module")
def passport(owner: Owner, one: LocalAuthority) -> Passport:
    model = host()
    found = Passport.issue(model, owner, example=EXAMPLE, anchor=anchored(owner, one, model))
    write_bits(model, found, owner, 600)
    return found


def test_an_anchor_dated_before_the_revocation_counts(
    passport: Passport, owner: Owner, one: LocalAuthority
) -> None:
    trust = revoking(owner, 1, one)
    report = verify(passport.host, passport=passport, owner=owner, trust=trust)
    assert (report.verdict, report.anchored) == (Verdict.VERIFIED, True)


@pytest.mark.parametrize("trusted", [True, False], ids=["dated after", "dated by a stranger"])
def test_whoever_took_the_key_verifies_nothing(
    passport: Passport, owner: Owner, one: LocalAuthority, trusted: bool
) -> None:
    trust = revoking(owner, -1, one) if trusted else revoking(owner, 1)
    with pytest.raises(EvidenceError, match=LATE):
        verify(passport.host, passport=passport, owner=owner, trust=trust)


def test_nor_by_answers(owner: Owner, tmp_path: Path) -> None:
    triggers = TriggerSet.issue(owner, example=torch.zeros(1, 1, 8, 8), classes=10)
    suspect, claim = Knowing(triggers), {"triggers": triggers, "owner": owner}
    report = query(suspect, **claim, trust=Trust.empty(), transcripts=tmp_path)
    assert report.verdict is Verdict.VERIFIED
    trust = revoking(owner, 1)
    with pytest.raises(EvidenceError, match=LATE):
        query(suspect, **claim, trust=trust)
    with pytest.raises(EvidenceError, match=LATE):
        rejudge(sorted(tmp_path.glob("*.jsonl")), **claim, trust=trust)


def test_the_revocation_of_another_identity_changes_nothing(
    passport: Passport, owner: Owner, one: LocalAuthority
) -> None:
    trust = revoking(Owner.generate(), -1, one)
    report = verify(passport.host, passport=passport, owner=owner, trust=trust)
    assert report.verdict is Verdict.VERIFIED
