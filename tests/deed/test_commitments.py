"""Commitments: everything of a mark, field by field, each salted and opened alone."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest
import rfc8785

from modeldeed import Owner
from modeldeed.deed.batches import batch_secrets
from modeldeed.deed.commitments import FIELDS, Commitments, committed, kinds_of, values_of
from modeldeed.errors import EvidenceError
from modeldeed.manifest import SignedManifest
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.plugin.backgrounds import Backgrounds, background_root
from modeldeed.plugin.target_classes import batch_labels, labels_of
from modeldeed.streams import derive
from tests.deed.conftest import Marked
from tests.plugin.answering import OWNER, fusion

ROOT = "ab" * 32


@pytest.fixture(scope="module")
def manifest(marked: Marked) -> Manifest:
    return marked.passport.manifest


def hashed(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(len(p).to_bytes(8, "big") + p for p in parts)).digest()


def twin_derive(key: bytes, *parts: str | int) -> bytes:
    coded = [b"modeldeed/v1"]
    coded += [b"i%d" % p if isinstance(p, int) else b"s" + p.encode() for p in parts]
    info = b"".join(len(c).to_bytes(8, "big") + c for c in coded)
    return hmac.digest(hmac.digest(bytes(32), key, "sha256"), info + b"\x01", "sha256")


def test_a_commitment_is_what_the_format_says(manifest: Manifest, owner: Owner) -> None:
    """Written again from the primitives."""
    seed, anchor = owner.seed("resnet-v1"), manifest.anchor
    fields, batches = committed("passport", manifest, ROOT, seed)
    salt = twin_derive(seed, "salt", "deed", ROOT, anchor.digest, "passport", "field", "head")
    value = rfc8785.dumps("keyed")
    key = owner.identity.public_key
    expected = hashed(b"modeldeed/v1/commitment", b"deed/passport/head", salt, key, value)
    assert fields["head"] == expected.hex()
    assert batches == ()
    _, batches = committed("triggers", manifest, ROOT, seed)
    salt = twin_derive(seed, "salt", "deed", ROOT, anchor.digest, "triggers", "batch", 1)
    secret = derive(manifest.model_key(owner), "triggers", 1).hex()
    value = rfc8785.dumps({"key": secret, "backgrounds": []})
    expected = hashed(b"modeldeed/v1/commitment", b"deed/triggers/batch/1", salt, key, value)
    assert batches[1] == expected.hex()


def test_every_field_of_manifest_and_anchor_is_committed_to(manifest: Manifest) -> None:
    """Whoever adds a field to either finds out here."""
    bound = {"identity", "seed_commitment", "format"}  # by the anchor's digest and the seed
    of_manifest = set(Manifest.model_fields) - {"anchor", "signature", "token"}
    of_anchor = set(type(manifest.anchor).model_fields) - bound
    of_rule = set(type(manifest.anchor.passport_rule).model_fields)
    renamed = {"message": "message_rule"}
    named = of_manifest | {renamed.get(n, n) for n in of_anchor} | of_rule
    everywhere = set().union(*FIELDS.values())
    assert named - {"passport"} == everywhere


def variants(manifest: Manifest) -> dict[str, SignedManifest]:
    anchor = manifest.anchor

    def with_anchor(**update: Any) -> SignedManifest:
        return manifest.model_copy(update={"anchor": anchor.model_copy(update=update)})

    def with_rule(**update: Any) -> SignedManifest:
        return with_anchor(passport=anchor.passport_rule.model_copy(update=update))

    return {
        "head": with_rule(head="learned"),
        "rows": with_rule(rows="shared"),
        "targets": with_anchor(targets=anchor.targets[:1]),
        "excluded": with_anchor(excluded=("1",)),
        "classes": with_anchor(classes=("a",) * 10),
        "weights_root": with_anchor(weights_root="0" * 64),
        "message": manifest.model_copy(update={"message": "B2"}),
        "label": manifest.model_copy(update={"label": "other"}),
        "state": manifest.model_copy(update={"state": "0" * 64}),
        "calls": manifest.model_copy(update={"calls": {}}),
    }


def test_each_field_changes_its_own_value_and_no_other(manifest: Manifest) -> None:
    before = values_of("passport", manifest)
    for name, changed in variants(manifest).items():
        after = values_of("passport", changed)
        assert [field for field in before if before[field] != after[field]] == [name]


def test_salts_and_commitments_are_all_different(manifest: Manifest, owner: Owner) -> None:
    """Also of equal values, of other marks, and of other deeds of the same mark."""
    seed = owner.seed("resnet-v1")
    salts = {
        Commitments(kind, manifest.anchor, root, seed).salt(name)
        for root in (ROOT, "0" * 64)
        for kind in ("passport", "triggers")
        for name in FIELDS[kind]
    }
    assert len(salts) == 2 * (len(FIELDS["passport"]) + len(FIELDS["triggers"]))
    fields = committed("passport", manifest, ROOT, seed)[0]
    assert len(set(fields.values())) == len(fields)


def test_a_plugins_batch_shows_this_models_classes_alone() -> None:
    """Its secrets give the batch's questions, and neither another batch nor another model."""
    here, elsewhere = fusion(), fusion(root="2" * 64)
    seed = OWNER.seed("plugin")
    first, second = batch_secrets("plugin", here, seed)
    other = next(batch_secrets("plugin", elsewhere, seed))
    assert first.backgrounds == other.backgrounds  # the detector is the same beside both
    assert first.key != other.key
    assert not set(first.backgrounds) & set(second.backgrounds)
    rule = here.anchor.plugin_rule
    shown = [bytes.fromhex(key) for key in first.backgrounds]
    labels = batch_labels(bytes.fromhex(first.key), shown, rule.classes)
    own = Backgrounds(background_root(seed, rule.backgrounds), rule.backgrounds)
    assert labels.equal(labels_of(here.model_key(OWNER), own, rule, 0))
    known = own.keys([0, 63])
    assert [known[0].hex(), known[63].hex()] == [first.backgrounds[0], first.backgrounds[63]]
    assert seed.hex() not in first.value().decode()


def test_kinds_follow_from_the_manifest(manifest: Manifest) -> None:
    assert kinds_of(manifest) == ("passport", "triggers")
    assert kinds_of(fusion()) == ("plugin",)
    with pytest.raises(EvidenceError, match="not of a mark"):
        values_of("plugin", manifest)
