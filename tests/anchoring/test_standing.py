"""What an anchor is worth: fewer bits, where the judge trusts the authority, and only there."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from modeldeed import Passport, Report, Verdict, verify
from modeldeed.anchoring.standing import UNANCHORED, standing_of
from modeldeed.claimant import OpenedSeed
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.manifest import SignedManifest
from modeldeed.owner import Owner
from modeldeed.statistics import BLACK_BOX, Budget
from modeldeed.trust import PinnedAuthority, Trust
from tests.anchoring.conftest import AT, BITS, EXAMPLE, anchored, host, write_bits
from tests.timestamping.authorities import LocalAuthority, make_authority
from tests.timestamping.cms import signer_info, token_der


def trust_in(*authorities: LocalAuthority) -> Trust:
    return Trust(
        authorities=tuple(
            PinnedAuthority(
                name=f"my {each.trusted.authority.name}",
                policy=each.policy,
                certificates=each.trusted.to_pem().decode(),
            )
            for each in authorities
        )
    )


def resigned(manifest: SignedManifest, owner: Owner, token: bytes) -> SignedManifest:
    return manifest.with_token(token).signed(owner)


@pytest.fixture(scope="module")
def passport(owner: Owner, one: LocalAuthority) -> Passport:
    model = host()
    return Passport.issue(model, owner, example=EXAMPLE, anchor=anchored(owner, one, model))


def judged(passport: Passport, owner: Owner, matches: int, trust: Trust | None) -> Report:
    write_bits(passport.host, passport, owner, matches)  # type: ignore[arg-type]
    report = verify(passport.host, passport=passport, owner=owner, trust=trust)
    assert report.require_signature().matches == matches
    assert report.require_signature().bits == BITS
    return report


def test_the_budgets_are_those_of_the_table(owner: Owner, one: LocalAuthority) -> None:
    manifest = Passport.issue(
        host(), owner, example=EXAMPLE, anchor=anchored(owner, one, host())
    ).manifest
    standing = standing_of(manifest, trust_in(one))
    assert standing.budget(Budget()).threshold_log2 == -84
    assert standing.budget(BLACK_BOX).e_threshold_log2 == 40
    assert UNANCHORED.budget(Budget()).threshold_log2 == -128
    stricter = Budget(alpha_log2=70, grinding_log2=10)
    assert standing.budget(stricter) == stricter


@pytest.mark.parametrize(
    ("matches", "trusted", "untrusted"),
    [
        (470, Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE),
        (471, Verdict.VERIFIED, Verdict.INCONCLUSIVE),
        (480, Verdict.VERIFIED, Verdict.INCONCLUSIVE),
        (502, Verdict.VERIFIED, Verdict.INCONCLUSIVE),
        (503, Verdict.VERIFIED, Verdict.VERIFIED),
        (336, Verdict.NOT_VERIFIED, Verdict.NOT_VERIFIED),
    ],
)
def test_an_anchor_lowers_what_is_needed_where_it_is_trusted(
    passport: Passport,
    owner: Owner,
    one: LocalAuthority,
    matches: int,
    trusted: Verdict,
    untrusted: Verdict,
) -> None:
    believed = judged(passport, owner, matches, trust_in(one))
    assert (believed.verdict, believed.anchored) == (trusted, True)
    assert believed.require_signature().required_matches == 471
    assert believed.anchor_time is not None
    assert believed.anchor_time.authority == "my One"
    assert believed.anchor_time.earliest <= AT <= believed.anchor_time.latest
    assert not believed.warnings
    for trust in (None, Trust.empty()):
        report = judged(passport, owner, matches, trust)
        assert (report.verdict, report.anchored) == (untrusted, False)
        assert report.require_signature().required_matches == 503
        assert report.anchor_time is None
        assert any("2^64" in warning for warning in report.warnings)


def test_without_an_authority_the_same_claim_is_inconclusive(
    owner: Owner, one: LocalAuthority
) -> None:
    model = host()
    plain = Passport.issue(model, owner, example=EXAMPLE)
    report = judged(plain, owner, 480, trust_in(one))
    assert (report.verdict, report.anchored) == (Verdict.INCONCLUSIVE, False)
    assert not report.warnings


def test_an_authority_of_ones_own_buys_nothing(
    owner: Owner, one: LocalAuthority, tmp_path: Path
) -> None:
    """It signs as often as one likes, so its tokens are no dearer than other tries of a key."""
    for policy in ("1.2.3.4.7", one.policy):
        model, own = host(), make_authority(tmp_path, f"own {policy}", policy=policy)
        mine = Passport.issue(model, owner, example=EXAMPLE, anchor=anchored(owner, own, model))
        report = judged(mine, owner, 480, trust_in(one))
        assert (report.verdict, report.anchored) == (Verdict.INCONCLUSIVE, False)
        assert any("not among those trusted" in warning for warning in report.warnings)


def test_a_token_of_somebody_else_than_the_named_authority_is_refused(
    passport: Passport, owner: Owner, one: LocalAuthority, tmp_path: Path
) -> None:
    imprint = bytes.fromhex(passport.manifest.anchor.digest)
    forger = make_authority(tmp_path, "Forger", policy=one.policy)
    forged = resigned(passport.manifest, owner, forger.token_at(imprint, AT))
    for trust in (trust_in(one), trust_in(one, forger)):
        with pytest.raises(EvidenceError, match="not that authority's"):
            standing_of(forged, trust)
    info = passport.manifest.signed_time()
    other = token_der(info, [signer_info(info, forger.signing)], [forger.signing.certificate])
    with pytest.raises(EvidenceError, match="not that authority's"):
        standing_of(resigned(passport.manifest, owner, other), trust_in(one))


def test_a_broken_signature_of_the_named_authority_is_refused(
    passport: Passport, owner: Owner, one: LocalAuthority
) -> None:
    token = passport.manifest.token_bytes() or b""
    broken = token[:-1] + bytes([token[-1] ^ 1])
    with pytest.raises(EvidenceError):
        standing_of(resigned(passport.manifest, owner, broken), trust_in(one))


def test_a_stranger_is_never_verified_nor_anchored(
    passport: Passport, owner: Owner, stranger: Owner, one: LocalAuthority
) -> None:
    write_bits(passport.host, passport, owner, BITS)  # type: ignore[arg-type]
    report = verify(passport.host, passport=passport, owner=stranger, trust=trust_in(one))
    assert (report.verdict, report.anchored) == (Verdict.NOT_VERIFIED, False)


def test_an_opened_seed_claims_as_its_owner_does(
    passport: Passport, owner: Owner, one: LocalAuthority
) -> None:
    expected = judged(passport, owner, 480, trust_in(one))
    opened = OpenedSeed(owner.identity, "model", owner.seed("model"))
    manifest = passport.manifest.signed(owner)
    report = verify(passport.host, passport=manifest, owner=opened, trust=[one.trusted])
    assert report.verdict is Verdict.VERIFIED
    assert report.signature == expected.signature


def test_an_opened_seed_opens_one_label_and_signs_nothing(owner: Owner) -> None:
    opened = OpenedSeed(owner.identity, "model", owner.seed("model"))
    assert opened.seed("model") == owner.seed("model")
    with pytest.raises(EvidenceError, match="another model"):
        opened.seed("model2")
    assert not hasattr(opened, "sign")
    assert base64.b16encode(owner.seed("model")).decode().lower() not in repr(opened).lower()
    assert str(owner.seed("model")) not in repr(opened)
    with pytest.raises(OptionError, match="32 bytes"):
        OpenedSeed(owner.identity, "model", b"short")
    with pytest.raises(OptionError, match="label"):
        OpenedSeed(owner.identity, "", bytes(32))


def test_the_wrong_seed_of_an_opening_is_refused(
    passport: Passport, owner: Owner, stranger: Owner
) -> None:
    opened = OpenedSeed(owner.identity, "model", stranger.seed("model"))
    with pytest.raises(EvidenceError, match="commits to"):
        verify(passport.host, passport=passport.manifest.signed(owner), owner=opened)
