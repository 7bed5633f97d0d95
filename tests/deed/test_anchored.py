"""Deeds of anchored marks: the anchor's token stands in the deed, and comes before it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from modeldeed import Deed, Owner, Passport, Verdict, verify
from modeldeed.deed import Opening
from modeldeed.deed.opening import SeedOpening
from modeldeed.deed.recomputing import shown_marks
from modeldeed.errors import EvidenceError
from modeldeed.suspects import open_weights
from modeldeed.trust import PinnedAuthority, Trust
from tests.deed.conftest import NONCE, host
from tests.timestamping.authorities import LocalAuthority, make_authority

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Anchored:
    """A marked model whose anchor was dated at noon."""

    model: Path
    passport: Passport
    owner: Owner
    authority: LocalAuthority
    trust: Trust

    def deed(self) -> Deed:
        return Deed.create(self.model, owner=self.owner, marks=[self.passport])

    def opening(self, deed: Deed) -> Opening:
        return deed.open(self.owner, open_weights(self.model).digest(), NONCE)


@pytest.fixture(scope="module")
def anchored(tmp_path_factory: pytest.TempPathFactory, owner: Owner) -> Anchored:
    folder = tmp_path_factory.mktemp("anchored")
    authority, model = make_authority(folder, "one"), host()
    example = torch.rand(2, 1, 8, 8)
    anchoring = Passport.anchor(
        model, owner, example=example, label="anchored", authority=authority.trusted.authority
    )
    anchoring.accept(authority.stamp(anchoring.request(), at=NOON))
    passport = Passport.issue(model, owner, example=example, anchor=anchoring)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(25):
        optimizer.zero_grad()
        passport.signature_loss().backward()
        optimizer.step()
    save_file(model.state_dict(), folder / "model.safetensors")
    pinned = PinnedAuthority(
        name="one", policy=authority.policy, certificates=authority.trusted.to_pem().decode()
    )
    trust = Trust(authorities=(pinned,))
    return Anchored(folder / "model.safetensors", passport, owner, authority, trust)


def test_an_anchored_mark_pays_less_where_its_authority_is_trusted(anchored: Anchored) -> None:
    deed = anchored.deed()
    (mark,) = deed.marks
    assert mark.token == anchored.passport.manifest.token
    assert mark.token is not None
    assert mark.budget.grinding_log2 == 20
    opening = anchored.opening(deed)
    report = verify(anchored.model, deed=deed, opening=opening, trust=anchored.trust)
    assert report.verdict is Verdict.VERIFIED
    assert report.anchored
    assert report.require_signature().threshold_log2 == -84
    report = verify(anchored.model, deed=deed, opening=opening)
    assert not report.anchored
    assert report.require_signature().threshold_log2 == -128


def test_an_anchor_comes_before_its_deed(anchored: Anchored) -> None:
    deed = anchored.deed()
    deed.accept(anchored.authority.stamp(deed.request(), at=NOON + HOUR))
    assert deed.check(trust=anchored.trust).valid
    early = anchored.deed()
    early.accept(anchored.authority.stamp(early.request(), at=NOON - HOUR))
    check = early.check(trust=anchored.trust)
    assert any("dated after the deed" in problem for problem in check.problems)
    with pytest.raises(EvidenceError, match="dated after the deed"):
        verify(anchored.model, deed=early, opening=anchored.opening(early), trust=anchored.trust)


def test_another_token_for_the_same_anchor_is_refused(anchored: Anchored) -> None:
    """Each token makes another key; the deed has the one that counts."""
    deed = anchored.deed()
    opening = anchored.opening(deed)
    (part,) = opening.marks
    assert isinstance(part, SeedOpening)
    manifest = anchored.passport.manifest
    other = anchored.authority.token_at(bytes.fromhex(manifest.anchor.digest), NOON + HOUR)
    changed = manifest.with_token(other).signed(anchored.owner)
    forged = opening.model_copy(update={"marks": (part.model_copy(update={"manifest": changed}),)})
    with pytest.raises(EvidenceError, match="token"):
        shown_marks(deed, forged.signed(anchored.owner))
