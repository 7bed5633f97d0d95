"""The anchor: its bytes hold still, and every field of it decides every secret."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from modeldeed.anchor import (
    Anchor,
    MessageRule,
    PassportRule,
    ProbeInput,
    ProbeTensor,
    Target,
    architecture_digest,
    message_commitment,
    seed_commitment,
)
from modeldeed.digests import joined
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.owner import Owner
from modeldeed.timestamping.authority import Authority

TARGET: dict[str, Any] = {
    "norm": "norm1",
    "kind": "batch",
    "channels": 32,
    "affine": "norm1.weight",
    "weight": "conv1.weight",
    "shape": (32, 3, 3, 3),
    "axis": 0,
    "side": "rows",
    "left_out": (1, 5),
}
FIELDS: dict[str, Any] = {
    "weights_root": "1" * 64,
    "architecture": "2" * 64,
    "planner": 1,
    "excluded": ("norm2",),
    "classes": ("cat", "dög"),
}
GOLDEN_DIGEST = "f47c01ff1f8c104d1fb8aa8f2ed045ebaae4e28cef20b5eb372ce6c7c0ad3f66"
GOLDEN_KEY = "7e3864fb4045fbeb49b6e11b301d9475a98be3112a98e88c464f0a4a6a4900ba"


def made(owner: Owner, **changes: Any) -> Anchor:
    seed = owner.seed("model")
    return Anchor(
        **{
            "identity": owner.identity.public_key.hex(),
            "seed_commitment": seed_commitment(seed, owner.identity.public_key),
            "targets": (Target(**TARGET),),
            "passport": PassportRule(head="keyed"),
            **FIELDS,
            **changes,
        }
    )


def slow_hkdf(secret: bytes, salt: bytes, *label: bytes) -> bytes:
    extracted = hmac.new(salt or bytes(32), secret, hashlib.sha256).digest()
    info = joined(b"modeldeed/v1", *label)
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


# --- the format ---


def test_the_bytes_are_sorted_json_of_all_fields(owner: Owner) -> None:
    anchor = made(owner)
    fields = {
        "format": "modeldeed-anchor/v1",
        "identity": anchor.identity,
        "seed_commitment": anchor.seed_commitment,
        "targets": [{**TARGET, "shape": [32, 3, 3, 3], "left_out": [1, 5]}],
        "passport": {
            "head": "keyed",
            "reading": "weights/v1",
            "rows": "keyed",
            "statistics": "re-estimated/v1",
        },
        **{**FIELDS, "excluded": ["norm2"], "classes": ["cat", "dög"]},
        **dict.fromkeys(["triggers", "plugin", "message", "authority"]),
    }
    written = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert anchor.canonical() == written.encode()
    assert anchor.digest == hashlib.sha256(written.encode()).hexdigest()


def test_golden_digest_and_key(owner: Owner) -> None:
    anchor = made(owner)
    assert anchor.digest == GOLDEN_DIGEST
    assert anchor.model_key(owner.seed("model")).hex() == GOLDEN_KEY


AUTHORITY = Authority(name="Example TSA", policy="1.2.3.4.1", root="7" * 64)


@pytest.mark.parametrize(("token", "authority"), [(b"", None), (b"signed time", AUTHORITY)])
def test_the_model_key_is_the_documented_derivation(
    owner: Owner, token: bytes, authority: Authority | None
) -> None:
    anchor, seed = made(owner, authority=authority), owner.seed("model")
    salt = hashlib.sha256(joined(anchor.canonical()) + token).digest()
    assert anchor.model_key(seed, token) == slow_hkdf(seed, salt, b"smodel-key")


def test_the_seed_commitment_is_bound_to_seed_and_identity(owner: Owner, stranger: Owner) -> None:
    seed, public = owner.seed("model"), owner.identity.public_key
    salt = slow_hkdf(seed, b"", b"ssalt", b"sseed")
    preimage = joined(b"modeldeed/v1/commitment", b"seed", salt, public, seed)
    assert seed_commitment(seed, public) == hashlib.sha256(preimage).hexdigest()
    assert seed_commitment(seed, stranger.identity.public_key) != seed_commitment(seed, public)


# --- every field decides ---

CHANGES: list[dict[str, Any]] = [
    {"weights_root": "1" * 63 + "0"},
    {"architecture": "3" * 64},
    {"planner": 2},
    {"excluded": ()},
    {"excluded": ("norm2", "norm3")},
    {"classes": ("dög", "cat")},
    {"classes": ()},
    {"passport": PassportRule(head="learned")},
    {"passport": PassportRule(head="keyed", rows="shared")},
    {"targets": (Target(**TARGET), Target(**{**TARGET, "norm": "n2", "weight": "w2"}))},
    {"message": MessageRule(size=4, commitment="5" * 64)},
    {"message": MessageRule(size=5, commitment="5" * 64)},
    {"probes": ProbeInput(form="tensor", tensors=(ProbeTensor(shape=(3, 8, 8), dtype="float32"),))},
    {"probes": ProbeInput(form="tensor", tensors=(ProbeTensor(shape=(3, 8, 9), dtype="float32"),))},
]
TARGET_CHANGES: list[dict[str, Any]] = [
    {"norm": "norm2"},
    {"kind": "group"},
    {"channels": 3, "axis": 1, "left_out": (1,)},
    {"affine": None},
    {"weight": "conv2.weight"},
    {"shape": (32, 3, 9)},
    {"side": "columns"},
    {"left_out": ()},
    {"left_out": (1, 6)},
]
TWICE: list[tuple[dict[str, Any], ...]] = [
    (),
    (TARGET, TARGET),
    (TARGET, {**TARGET, "norm": "n2"}),
    (TARGET, {**TARGET, "weight": "w2"}),
]


@pytest.mark.parametrize("targets", TWICE, ids=["none", "same", "same weight", "same norm"])
def test_no_norm_and_no_channels_stand_twice(
    owner: Owner, targets: tuple[dict[str, Any], ...]
) -> None:
    with pytest.raises(ValidationError, match=r"twice|needs targets"):
        made(owner, targets=tuple(Target(**fields) for fields in targets))


CHANGES += [{"targets": (Target(**{**TARGET, **change}),)} for change in TARGET_CHANGES]


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: f"{next(iter(c))}")
def test_a_changed_field_gives_another_key(owner: Owner, change: dict[str, Any]) -> None:
    seed = owner.seed("model")
    changed = made(owner, **change)
    assert changed.digest != made(owner).digest
    assert changed.model_key(seed) != made(owner).model_key(seed)


def test_every_field_is_among_the_changes() -> None:
    fixed = {"format", "identity", "seed_commitment", "triggers", "plugin", "authority"}
    assert {name for change in CHANGES for name in change} == set(Anchor.model_fields) - fixed
    changed = {name for change in TARGET_CHANGES for name in change}
    assert changed == set(Target.model_fields)


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_two_class_names_are_never_taken_for_one(one: str, other: str) -> None:
    owner = Owner(bytes(32))
    split, whole = made(owner, classes=(one, other)), made(owner, classes=(one + other,))
    assert split.digest != whole.digest


def test_a_token_gives_another_key(owner: Owner) -> None:
    anchor, seed = made(owner, authority=AUTHORITY), owner.seed("model")
    keys = {anchor.model_key(seed, token) for token in (b"t", b"u", b"tt")}
    assert len(keys | {made(owner).model_key(seed)}) == 4


def test_without_its_token_an_anchor_has_no_key(owner: Owner) -> None:
    """Else whoever likes the unanchored key better could leave the token away."""
    with pytest.raises(EvidenceError, match="not anchored yet"):
        made(owner, authority=AUTHORITY).model_key(owner.seed("model"))


def test_without_an_authority_no_token_counts(owner: Owner) -> None:
    """Else a token of anybody would be one more free choice of key."""
    with pytest.raises(EvidenceError, match="names no authority"):
        made(owner).model_key(owner.seed("model"), b"signed time")


@pytest.mark.parametrize(
    "change",
    [{"policy": "1.02"}, {"policy": "3.1"}, {"root": "A" * 64}, {"name": ""}, {"url": "https://a"}],
    ids=str,
)
def test_malformed_authorities_are_refused(owner: Owner, change: dict[str, str]) -> None:
    fields = json.loads(made(owner, authority=AUTHORITY).canonical())
    fields["authority"].update(change)
    with pytest.raises(ValidationError, match=next(iter(change))):
        Anchor.model_validate_json(json.dumps(fields))


# --- seeds ---


def test_another_seed_does_not_open(owner: Owner, stranger: Owner) -> None:
    anchor = made(owner)
    assert anchor.opens(owner.seed("model"))
    for seed in (owner.seed("Model"), stranger.seed("model"), bytes(32)):
        assert not anchor.opens(seed)
        with pytest.raises(EvidenceError, match="issued under another label, or altered"):
            anchor.model_key(seed)


def test_another_identity_over_the_same_commitment_does_not_open(
    owner: Owner, stranger: Owner
) -> None:
    stolen = made(owner, identity=stranger.identity.public_key.hex())
    for seed in (owner.seed("model"), stranger.seed("model")):
        with pytest.raises(EvidenceError):
            stolen.model_key(seed)


def test_a_claim_of_another_owner_keeps_everything_else(owner: Owner, stranger: Owner) -> None:
    anchor, seed = made(owner), stranger.seed("model")
    claimed = anchor.claimed_by(stranger.identity, seed)
    kept = set(Anchor.model_fields) - {"identity", "seed_commitment"}
    assert claimed.model_dump(include=kept) == anchor.model_dump(include=kept)
    assert claimed.owner_identity() == stranger.identity
    assert claimed.model_key(seed) != anchor.model_key(owner.seed("model"))
    assert claimed == made(stranger)


# --- the message's commitment ---


def test_the_message_commitment_is_bound_to_message_seed_and_identity(
    owner: Owner, stranger: Owner
) -> None:
    seed, public = owner.seed("model"), owner.identity.public_key
    salt = slow_hkdf(seed, b"", b"ssalt", b"smessage")
    preimage = joined(b"modeldeed/v1/commitment", b"message", salt, public, b"Acme")
    made_of = message_commitment(b"Acme", seed, public)
    assert made_of == hashlib.sha256(preimage).hexdigest()
    others = {
        message_commitment(b"Acme2", seed, public),
        message_commitment(b"Acme", owner.seed("other"), public),
        message_commitment(b"Acme", seed, stranger.identity.public_key),
    }
    assert len(others | {made_of}) == 4


def test_only_the_committed_message_opens(owner: Owner) -> None:
    seed, public = owner.seed("model"), owner.identity.public_key
    commitment = message_commitment(b"Acme", seed, public)
    anchor = made(owner, message=MessageRule(size=4, commitment=commitment))
    assert anchor.commits_to(b"Acme", seed)
    assert not anchor.commits_to(b"Acmf", seed)
    assert not anchor.commits_to(b"Acme", owner.seed("other"))
    assert not made(owner).commits_to(b"Acme", seed)
    lying = made(owner, message=MessageRule(size=5, commitment=commitment))
    assert not lying.commits_to(b"Acme", seed)


# --- strictness ---


def test_a_round_trip_keeps_the_anchor(owner: Owner) -> None:
    anchor = made(owner)
    assert Anchor.model_validate_json(anchor.canonical()) == anchor


@pytest.mark.parametrize(
    "change",
    [
        {"more": 1},
        {"planner": 0},
        {"planner": True},
        {"planner": "1"},
        {"planner": 1.0},
        {"weights_root": "1" * 63},
        {"weights_root": "A" * 64},
        {"weights_root": "1" * 64 + "\n"},
        {"format": "modeldeed-anchor/v2"},
        {"triggers": {}},
        {"message": "later"},
        {"message": {"size": 0, "commitment": "5" * 64}},
        {"message": {"size": 161, "commitment": "5" * 64}},
        {"message": {"size": 4, "commitment": "5" * 63}},
        {"message": {"size": 4, "commitment": "5" * 64, "code": "words-rs/v2"}},
        {"message": {"size": 4, "commitment": "5" * 64, "text": "Acme"}},
        {"classes": [1]},
        {"excluded": [""]},
        {"passport": {"head": "keyed", "reading": "coloured/v1"}},
        {"passport": {"head": "keyed", "rows": "any"}},
        {"passport": {"head": "keyed", "more": 1}},
        {"passport": {}},
    ],
    ids=str,
)
def test_malformed_anchors_are_refused(owner: Owner, change: dict[str, Any]) -> None:
    fields = {**json.loads(made(owner).canonical()), **change}
    with pytest.raises(ValidationError, match=next(iter(change))):
        Anchor.model_validate_json(json.dumps(fields))


@pytest.mark.parametrize(
    "change",
    [
        {"axis": 4},
        {"axis": 1},
        {"axis": -1},
        {"channels": 31},
        {"channels": 0},
        {"shape": ()},
        {"shape": (32, 0)},
        {"left_out": (32,)},
        {"left_out": (-1,)},
        {"left_out": (1, 1)},
        {"left_out": (5, 1)},
        {"side": "both"},
        {"norm": ""},
        {"weight": "x" * 501},
        {"more": 1},
    ],
    ids=str,
)
def test_contradictory_targets_are_refused(change: dict[str, Any]) -> None:
    """A repeated channel in left_out would make n smaller than the number of bits read."""
    with pytest.raises(ValidationError):
        Target(**{**TARGET, **change})


def test_a_targets_numbers() -> None:
    target = Target(**{**TARGET, "shape": (5, 32, 2), "axis": 1})
    assert (target.fan, target.bits) == (10, 30)


def test_anchors_are_frozen(owner: Owner) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        made(owner).planner = 2


def test_a_weak_identity_is_refused(owner: Owner) -> None:
    with pytest.raises(EvidenceError, match="small order"):
        made(owner, identity="01" + "00" * 31).owner_identity()


def test_rows_are_keyed_or_shared() -> None:
    assert PassportRule.checked(head="keyed", rows="shared").rows == "shared"
    with pytest.raises(OptionError, match="'keyed' or 'shared', got 'circulant'"):
        PassportRule.checked(head="keyed", rows="circulant")


# --- architecture ---


def test_the_architecture_digest_knows_names_shapes_and_dtypes_but_no_values() -> None:
    state = {"b": torch.zeros(2, 3), "a": torch.zeros(4)}
    digest = architecture_digest("Net", state)
    same = {"a": torch.ones(4), "b": torch.full((2, 3), 7.0)}
    assert architecture_digest("Net", same) == digest
    others = [
        ("Net2", state),
        ("Net", {**state, "c": torch.zeros(1)}),
        ("Net", {"a": state["a"]}),
        ("Net", {"b": state["b"], "A": state["a"]}),
        ("Net", {**state, "b": torch.zeros(3, 2)}),
        ("Net", {**state, "a": torch.zeros(4, dtype=torch.float16)}),
    ]
    assert len({digest, *(architecture_digest(*other) for other in others)}) == 7
    text = b'[["a","float32",[4]],["b","float32",[2,3]]]'
    expected = hashlib.sha256(joined(b"modeldeed/v1/architecture", b"Net", text)).hexdigest()
    assert digest == expected
