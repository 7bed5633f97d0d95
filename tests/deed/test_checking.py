"""Checking without secrets: times, identities, the model, and what was not looked at."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from modeldeed import Deed, Owner
from modeldeed.deed import Countersignature, DerivedFrom, hashing
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.trust import PinnedAuthority, Revocation, Trust
from tests.deed.conftest import Marked
from tests.timestamping.authorities import LocalAuthority, make_authority

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalAuthority, ...]:
    folder = tmp_path_factory.mktemp("authorities")
    return tuple(make_authority(folder, name, at=NOON) for name in ("one", "two", "three"))


def trusting(*authorities: LocalAuthority, **fields: object) -> Trust:
    pinned = tuple(
        PinnedAuthority(
            name=a.trusted.authority.name,
            policy=a.policy,
            certificates=a.trusted.to_pem().decode(),
        )
        for a in authorities
    )
    return Trust.empty().model_copy(update={"authorities": pinned, **fields})


def test_without_a_trust_file_it_says_what_was_left(marked: Marked) -> None:
    check = Deed.load(marked.folder / "model.deed").check()
    assert check.valid
    assert check.dated.word == "undated"
    assert check.model == "not given"
    left = " ".join(check.not_checked)
    for word in ("commitments", "marks", "timestamps", "identity", "digests"):
        assert word in left
    assert check.model_validate_json(check.model_dump_json()) == check


def test_two_authorities_date_a_deed_one_is_flagged(
    copied: Path, authorities: tuple[LocalAuthority, ...]
) -> None:
    one, two, three = authorities
    deed = Deed.load(copied)
    request = deed.request()
    deed.accept(one.stamp(request, at=NOON + 2 * HOUR), request=request)
    trust = trusting(one, two)
    assert deed.check(trust=trust).dated.word == "dated, single authority"
    deed.accept(two.stamp(request, at=NOON), trusted=trust.trusted, request=request)
    deed.accept(three.stamp(request, at=NOON - HOUR))
    deed.save(copied)
    again = Deed.load(copied)
    assert again.tokens == deed.tokens
    check = again.check(trust=trust)
    assert check.dated.word == "dated"
    # The second-earliest of those that are trusted.
    assert check.dated.earliest == NOON + 2 * HOUR - timedelta(seconds=1)
    words = [look.word for look in check.timestamps]
    assert words == ["verified", "verified", "not counted"]
    assert check.valid


def test_a_timestamp_over_something_else_is_refused(
    copied: Path, authorities: tuple[LocalAuthority, ...]
) -> None:
    deed = Deed.load(copied)
    token = authorities[0].token_at(bytes(32), NOON)
    with pytest.raises(EvidenceError, match="neither over this deed"):
        deed.accept(token)
    (copied / "timestamps").mkdir()
    (copied / "timestamps" / "1.tsr").write_bytes(token)
    check = Deed.load(copied).check(trust=trusting(authorities[0]))
    assert not check.valid
    assert check.timestamps[0].word == "invalid"
    with pytest.raises(EvidenceError, match="does not verify"):
        check.require_valid()


def test_an_answer_to_another_request_is_refused(
    copied: Path, authorities: tuple[LocalAuthority, ...]
) -> None:
    deed = Deed.load(copied)
    answer = authorities[0].stamp(deed.request(nonce=5))
    with pytest.raises(EvidenceError, match="nonce"):
        deed.accept(answer, request=deed.request(nonce=6))


def test_timestamps_are_renewed(copied: Path, authorities: tuple[LocalAuthority, ...]) -> None:
    one, two, _ = authorities
    trust = trusting(one, two)
    deed = Deed.load(copied)
    deed.accept(one.stamp(deed.request(), at=NOON))
    renewal = deed.request(renew=True)
    deed.accept(two.stamp(renewal, at=NOON + HOUR))
    deed.accept(one.stamp(renewal, at=NOON + HOUR))
    assert [len(each) for each in deed.rounds] == [1, 2]
    with pytest.raises(EvidenceError, match="renewed"):
        deed.accept(two.stamp(deed.request(), at=NOON))
    deed.save(copied)
    again = Deed.load(copied)
    assert again.rounds == deed.rounds
    check = again.check(trust=trust)
    assert check.valid
    assert check.dated.word == "dated, single authority"
    (copied / "timestamps" / "1.tsr").write_bytes(one.token_at(deed.imprint, NOON - HOUR))
    broken = Deed.load(copied).check(trust=trust)
    assert any("renewal" in problem for problem in broken.problems)


def test_a_revoked_identity_counts_only_before(
    copied: Path, authorities: tuple[LocalAuthority, ...], owner: Owner
) -> None:
    one, two, _ = authorities
    key = owner.identity.public_key.hex()
    deed = Deed.load(copied)
    revoked = {key: Revocation(since=NOON + HOUR, reason="key compromised")}
    trust = trusting(one, two, revoked=revoked, owners={key: "Acme Vision"})
    assert not deed.check(trust=trust).valid  # undated: made when, nobody knows
    for authority in (one, two):
        deed.accept(authority.stamp(deed.request(), at=NOON))
    check = deed.check(trust=trust)
    assert check.valid
    assert check.owner == "Acme Vision"
    early = {key: Revocation(since=NOON - HOUR, reason="key compromised")}
    assert any(
        "revoked" in problem
        for problem in deed.check(trust=trusting(one, two, revoked=early)).problems
    )


def test_the_models_digests_are_compared(marked: Marked, tmp_path: Path) -> None:
    assert marked.deed.check(model=marked.model).model == "its files"
    from safetensors.torch import load_file, save_file

    state = {name: tensor + 1 for name, tensor in load_file(marked.model).items()}
    save_file(state, tmp_path / "other.safetensors")
    check = marked.deed.check(model=tmp_path / "other.safetensors")
    assert check.model == "another model"
    assert not check.valid


def test_a_licensed_derivative_is_countersigned(
    marked: Marked, stranger: Owner, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    from tests.deed.conftest import host, planted

    upstream = marked.deed
    consent = upstream.license(marked.owner, stranger.identity, "CC-BY-4.0")
    assert Countersignature.from_json(consent.to_json()) == consent
    model = host(seed=4)
    passport = planted(model, stranger, label="fine-tuned")
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    derived = Deed.create(
        tmp_path / "model.safetensors",
        owner=stranger,
        marks=[passport],
        derived_from=[(upstream, consent)],
    )
    (origin,) = derived.statement.predicate.derived_from
    assert (origin.deed, origin.terms) == (upstream.digest, "CC-BY-4.0")
    assert any("countersignature" in each for each in derived.check().checked)
    with pytest.raises(OptionError, match="only the owner"):
        upstream.license(stranger, stranger.identity, "MIT")
    for wrong in (
        upstream.license(marked.owner, marked.owner.identity, "MIT"),
        upstream.license(marked.owner, stranger.identity, "MIT", tensor_root="0" * 64),
        consent.model_copy(update={"terms": "anything goes"}),
    ):
        entry = DerivedFrom(
            tensor_root=upstream.statement.tensor_root, deed=upstream.digest, countersignature=wrong
        )
        with pytest.raises(EvidenceError):
            Deed.create(
                tmp_path / "model.safetensors",
                owner=stranger,
                marks=[passport],
                derived_from=[entry],
            )


def test_a_folder_keeps_its_deed(marked: Marked, copied: Path) -> None:
    """It is never replaced by another one, and writing it again changes nothing."""
    Deed.load(copied).save(copied)
    assert sorted(path.name for path in copied.iterdir()) == ["deed.json"]
    other = Deed.create(
        marked.model, owner=marked.owner, marks=[marked.folder / "passport"], alpha_log2=70
    )
    with pytest.raises(OptionError, match="another deed"):
        other.save(copied)
    with pytest.raises(OptionError, match="no deed"):
        Deed.load(copied / "elsewhere")


def test_it_says_when_a_digest_could_not_be_compared(
    marked: Marked, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("blake3")
    whole = marked.deed.check(model=marked.model)
    assert not any("BLAKE3" in what for what in whole.not_checked)
    monkeypatch.setattr(hashing.importlib.util, "find_spec", lambda _name: None)
    without = marked.deed.check(model=marked.model)
    assert without.model == whole.model
    assert any("BLAKE3" in what for what in without.not_checked)
