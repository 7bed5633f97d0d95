"""The key follows from what the authority signed, from all of it, and from nothing else."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest

from modeldeed import Passport
from modeldeed.anchor.tokens import signed_time_of
from modeldeed.anchoring.anchoring import Anchoring
from modeldeed.errors import EvidenceError
from modeldeed.owner import Owner
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.timestamping import Authority, signed_info
from tests.anchoring.conftest import AT, EXAMPLE, anchored, host
from tests.timestamping.authorities import LocalAuthority, issue
from tests.timestamping.cms import signer_info, token_der


def manifest_of(owner: Owner, anchoring: Anchoring) -> Manifest:
    return Passport.issue(host(), owner, example=EXAMPLE, anchor=anchoring).manifest


def with_token(manifest: Manifest, token: bytes | None) -> dict[str, Any]:
    text = None if token is None else base64.b64encode(token).decode()
    return {**json.loads(manifest.to_json()), "token": text}


@pytest.fixture(scope="module")
def written(owner: Owner, one: LocalAuthority) -> Manifest:
    return manifest_of(owner, anchored(owner, one, host()))


def test_the_key_follows_from_the_token(
    owner: Owner, one: LocalAuthority, written: Manifest
) -> None:
    later = anchored(owner, one, host(), AT + timedelta(seconds=1))
    assert later.anchor == written.anchor
    unanchored = Passport.issue(host(), owner, example=EXAMPLE).manifest
    keys = {m.model_key(owner) for m in (written, manifest_of(owner, later), unanchored)}
    assert len(keys) == 3
    assert written.model_key(owner) == written.anchor.model_key(
        owner.seed("model"), signed_info(written.token_bytes() or b"")
    )


def test_another_signature_around_the_same_content_is_the_same_key(
    owner: Owner, one: LocalAuthority, written: Manifest
) -> None:
    """Else everybody could grind keys by signing, sorting or adding certificates anew."""
    info = written.signed_time()
    stranger = issue("nobody")
    tokens = [
        token_der(info, [signer_info(info, one.signing)], [one.signing.certificate]),
        token_der(
            info,
            [signer_info(info, one.signing)],
            [one.signing.certificate, one.root.certificate, stranger.certificate],
        ),
        token_der(info, [signer_info(info, stranger)], [stranger.certificate]),
    ]
    assert len({written.token_bytes(), *tokens}) == 4
    keys = {written.with_token(token).model_key(owner) for token in tokens}
    assert keys == {written.model_key(owner)}


def test_a_flipped_byte_of_the_signed_content_is_refused_or_another_key(
    owner: Owner, written: Manifest
) -> None:
    token = written.token_bytes() or b""
    info = written.signed_time()
    start, own = token.index(info), written.model_key(owner)
    for place in range(start, start + len(info)):
        flipped = token[:place] + bytes([token[place] ^ 1]) + token[place + 1 :]
        try:
            found = written.with_token(flipped).model_key(owner)
        except EvidenceError:
            continue
        assert found != own


def test_a_changed_authority_in_the_anchor_is_another_key(owner: Owner, written: Manifest) -> None:
    seed, token = owner.seed("model"), written.signed_time()
    own = written.anchor.authority
    assert own is not None
    fields: list[dict[str, str]] = [{"name": "Uno"}, {"policy": "1.2.3.4.9"}, {"root": "0" * 64}]
    others = [Authority(**{**own.model_dump(), **change}) for change in fields]
    anchors = [written.anchor.model_copy(update={"authority": other}) for other in others]
    keys = {anchor.model_key(seed, token) for anchor in (written.anchor, *anchors)}
    assert len(keys) == 4


def test_a_token_over_something_else_is_refused(
    owner: Owner, one: LocalAuthority, written: Manifest
) -> None:
    other = one.token_at(bytes(32), AT)
    with pytest.raises(EvidenceError, match="not over this anchor"):
        signed_time_of(other, written.anchor)
    with pytest.raises(EvidenceError, match="not over this anchor"):
        Manifest.from_json(json.dumps(with_token(written, other)).encode())
    bypassed = written.model_copy(update={"token": with_token(written, other)["token"]})
    with pytest.raises(EvidenceError, match="not over this anchor"):
        bypassed.signed(owner).require_authentic()
    with pytest.raises(EvidenceError, match="not over this anchor"):
        bypassed.model_key(owner)


def test_a_token_of_another_policy_is_refused(two: LocalAuthority, written: Manifest) -> None:
    other = two.token_at(bytes.fromhex(written.anchor.digest), AT)
    with pytest.raises(EvidenceError, match=r"policy 1\.2\.3\.4\.2"):
        Manifest.from_json(json.dumps(with_token(written, other)).encode())


def test_a_token_left_away_leaves_no_key(owner: Owner, written: Manifest) -> None:
    """Else an anchored claim would hold a second, freely chosen key."""
    bare = Manifest.from_json(json.dumps(with_token(written, None)).encode())
    with pytest.raises(EvidenceError, match="was altered"):
        bare.require_authentic()
    with pytest.raises(EvidenceError, match="not anchored yet"):
        bare.signed(owner).model_key(owner)


def test_a_token_without_an_authority_in_the_anchor_is_refused(
    owner: Owner, one: LocalAuthority
) -> None:
    unanchored = Passport.issue(host(), owner, example=EXAMPLE).manifest
    token = one.token_at(bytes.fromhex(unanchored.anchor.digest), AT)
    with pytest.raises(EvidenceError, match="names no authority"):
        Manifest.from_json(json.dumps(with_token(unanchored, token)).encode())


@pytest.mark.parametrize("change", [lambda t: t + "\n", lambda t: t[:-1], lambda t: "é" + t])
def test_a_token_has_one_spelling(written: Manifest, change: Any) -> None:
    fields = json.loads(written.to_json())
    fields["token"] = change(fields["token"])
    with pytest.raises(EvidenceError, match=r"base64|malformed"):
        Manifest.from_json(json.dumps(fields).encode())


def test_unanchored_evidence_is_written_as_before_there_were_tokens(
    owner: Owner, written: Manifest
) -> None:
    plain = Passport.issue(host(), owner, example=EXAMPLE).manifest.signed(owner)
    fields = json.loads(plain.to_json())
    assert set(fields) == set(Manifest.model_fields) - {"token"}
    assert b"token" not in plain.preimage()
    assert Manifest.from_json(plain.to_json()) == plain
    assert set(json.loads(written.to_json())) == set(Manifest.model_fields)
    assert (written.token or "").encode() in written.preimage()


def test_a_swapped_token_breaks_the_owners_signature(
    one: LocalAuthority, written: Manifest
) -> None:
    other = one.token_at(bytes.fromhex(written.anchor.digest), AT + timedelta(days=1))
    swapped = Manifest.from_json(json.dumps(with_token(written, other)).encode())
    with pytest.raises(EvidenceError, match="was altered"):
        swapped.require_authentic()
