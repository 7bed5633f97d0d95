"""Evidence of one identity in the hands of another, and keys that are nobody's."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from modeldeed import Passport, Verdict, verify
from modeldeed.claimant import OpenedSeed
from modeldeed.deed import Deed, Opening
from modeldeed.deed.envelope import PAYLOAD_TYPE
from modeldeed.deed.opening import SeedOpening
from modeldeed.digests import canonical_json
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.trust import Trust
from tests.deed.forgeries.world import EXAMPLE, NONCE, Registered, World, host, resigned, sealed

P = 2**255 - 19
ORDER_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
ODD_KEY = r"small order|not in canonical form"
SMALL = [
    *(y.to_bytes(32, "little") for y in (0, 1, P - 1, P, P + 1)),
    *((y | 1 << 255).to_bytes(32, "little") for y in (0, 1, P - 1, P, P + 1)),
    *(ORDER_8[:31] + bytes([ORDER_8[31] | high]) for high in (0, 128)),
]  # fmt: skip
FITS_ALL = bytes([1]) + bytes(63)
"""R = the neutral point, s = 0: with a key of small order a signature of many messages, with the
neutral point as the key one of all."""


def unseeded(statement: dict[str, Any]) -> None:
    """Drop the anchors' tokens and pay the unanchored price."""
    for mark in statement["predicate"]["marks"]:
        del mark["token"]
        mark["budget"]["grinding_log2"] = 64


def test_commitments_are_replayed_under_another_identity(world: World) -> None:
    """The forger copies a published deed and waits until its owner opens it to a judge."""
    copied = Deed.parse(world.forged(lambda _: None, by=world.forger))
    assert copied.identity == world.forger.identity
    shown = world.real.opening()
    hers = {"deed": copied.digest, "identity": copied.identity.public_key.hex()}
    with pytest.raises(EvidenceError, match="another deed"):
        _verify(world, copied, shown)
    with pytest.raises(EvidenceError, match="altered"):
        _verify(world, copied, shown.model_copy(update=hers))
    with pytest.raises(EvidenceError, match="another identity"):
        _verify(world, copied, resigned(shown, world.forger, **hers))
    with pytest.raises(EvidenceError, match="another identity"):
        _verify(world, copied, resigned(shown, world.real.owner, deed=copied.digest))


@pytest.mark.parametrize("anchored", [True, False])
def test_an_opened_seed_is_worth_nothing_under_another_identity(
    world: World, anchored: bool
) -> None:
    """With the seed at hand, the forger rewrites the whole anchor to his own identity."""
    shown = world.real.opening()
    (part,) = shown.marks
    assert isinstance(part, SeedOpening)
    manifest = part.manifest
    stolen = manifest.anchor.claimed_by(world.forger.identity, bytes.fromhex(part.seed))
    if not anchored:
        stolen = stolen.model_copy(update={"authority": None})
    token = manifest.token if anchored else None
    made = manifest.model_copy(update={"anchor": stolen, "token": token}).signed(world.forger)

    def renamed(statement: dict[str, Any]) -> None:
        if not anchored:
            unseeded(statement)
        for mark in statement["predicate"]["marks"]:
            mark["anchor"] = stolen.digest

    deed = Deed.parse(world.forged(renamed, by=world.forger))
    own = resigned(
        shown,
        world.forger,
        deed=deed.digest,
        identity=deed.identity.public_key.hex(),
        marks=(part.model_copy(update={"manifest": made}),),
    )
    wanted = "timestamp|another anchor|token" if anchored else "seed is not the one"
    with pytest.raises(EvidenceError, match=wanted):
        _verify(world, deed, own)


def test_a_deed_made_with_a_stolen_seed_reads_other_bits(world: World) -> None:
    """Everything is in order but the key: it follows from the identity, too."""
    (part,) = world.real.opening().marks
    assert isinstance(part, SeedOpening)
    theirs = Passport.issue(host(), world.forger, example=EXAMPLE)
    deed = Deed.create(world.real.file, owner=world.forger, marks=[theirs])
    opening = deed.open(world.forger, world.real.suspect, NONCE, marks=[theirs])
    report = verify(world.real.file, deed=deed, opening=opening, trust=world.trust, nonce=NONCE)
    assert report.verdict is Verdict.NOT_VERIFIED
    with pytest.raises(EvidenceError, match="void"):
        _verify(world, deed, opening)
    stolen = OpenedSeed(world.forger.identity, part.manifest.label, bytes.fromhex(part.seed))
    with pytest.raises(EvidenceError, match="belongs to identity"):
        world.real.passport.manifest.model_key(stolen)


def test_a_key_fitted_after_inspection_does_not_pay(world: World) -> None:
    """Of many labels the forger takes the one whose bits fit the shipped file best."""
    suspect = host()
    suspect.load_state_dict(world.real.passport.host.state_dict())
    best = max(
        (Passport.issue(suspect, world.forger, example=EXAMPLE, label=f"m{n}") for n in range(30)),
        key=lambda passport: passport.signature().matches,
    )
    assert best.signature().matches > 336, "better than a key that was not chosen"
    deed = Deed.create(world.real.file, owner=world.forger, marks=[best])
    opening = deed.open(world.forger, world.real.suspect, NONCE)
    report = verify(world.real.file, deed=deed, opening=opening, nonce=NONCE)
    assert report.verdict is Verdict.NOT_VERIFIED
    with pytest.raises(EvidenceError, match="void"):
        _verify(world, deed, opening)


def test_another_seed_is_not_taken_at_opening(world: World) -> None:
    """Fitting the seed alone, behind a deed that is dated already."""
    shown = world.real.opening()
    (part,) = shown.marks
    assert isinstance(part, SeedOpening)
    for seed in (bytes(32), world.real.owner.seed("other")):
        forged = part.model_copy(update={"seed": seed.hex()})
        with pytest.raises(EvidenceError, match="seed is not the one"):
            _verify(world, world.real.deed, resigned(shown, world.real.owner, marks=(forged,)))


def test_a_deed_names_the_key_that_signed_it(world: World) -> None:
    """The forger signs, and the statement names the victim; his own key stands elsewhere in it."""
    victim, own = (o.identity.public_key.hex() for o in (world.real.owner, world.forger))

    def hidden(statement: dict[str, Any]) -> None:
        statement["predicate"]["identity"] = victim
        statement["predicate"]["derived_from"] = [
            {"tensor_root": "0" * 64,
             "countersignature": {"format": "modeldeed-countersignature/v1", "identity": own,
                                  "upstream": "0" * 64, "licensee": own, "terms": "x",
                                  "signature": ""}}
        ]  # fmt: skip

    with pytest.raises(EvidenceError, match="another key than its statement"):
        Deed.parse(world.forged(hidden, by=world.forger))
    data = json.loads(world.real.deed.envelope.to_bytes())
    data["signatures"][0]["keyid"] = world.forger.identity.fingerprint
    with pytest.raises(EvidenceError, match="not the identity in its payload"):
        Deed.parse(canonical_json(data))


@pytest.mark.parametrize("key", SMALL, ids=lambda key: key.hex()[-4:] + key.hex()[:4])
def test_a_small_order_or_odd_key_is_nobody(world: World, key: bytes) -> None:
    statement = json.loads(world.real.deed.envelope.payload)
    statement["predicate"]["identity"] = key.hex()
    envelope = {
        "payload": base64.b64encode(canonical_json(statement)).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": hashlib.sha256(key).hexdigest(),
                        "sig": base64.b64encode(FITS_ALL).decode()}],
    }  # fmt: skip
    with pytest.raises(EvidenceError, match=ODD_KEY):
        Deed.parse(canonical_json(envelope))
    shown = world.real.opening().model_copy(
        update={"identity": key.hex(), "signature": base64.b64encode(FITS_ALL).decode()}
    )
    with pytest.raises(EvidenceError, match=ODD_KEY):
        _verify(world, world.real.deed, shown)
    with pytest.raises((OptionError, ValueError), match=ODD_KEY):
        Trust(owners={key.hex(): "Nobody"})


def test_a_countersignature_of_a_small_order_key_does_not_license(world: World) -> None:
    def licensed(statement: dict[str, Any]) -> None:
        statement["predicate"]["derived_from"] = [
            {"tensor_root": "0" * 64,
             "countersignature": {"format": "modeldeed-countersignature/v1",
                                  "identity": SMALL[1].hex(), "upstream": "0" * 64,
                                  "licensee": statement["predicate"]["identity"], "terms": "x",
                                  "signature": base64.b64encode(FITS_ALL).decode()}}
        ]  # fmt: skip

    deed = Deed.parse(world.forged(licensed))
    with pytest.raises(EvidenceError, match="small order"):
        deed.check().require_valid()


def test_an_opening_of_a_stranger_is_refused(world: World, theirs: Registered) -> None:
    opening = theirs.opening(suspect=world.real.suspect)
    with pytest.raises(EvidenceError, match="another deed"):
        _verify(world, world.real.deed, opening)
    with pytest.raises(EvidenceError, match="another identity"):
        _verify(
            world, world.real.deed, resigned(opening, theirs.owner, deed=world.real.deed.digest)
        )


def test_an_unsigned_statement_is_no_deed(world: World) -> None:
    with pytest.raises(EvidenceError):
        Deed.parse(world.real.deed.envelope.payload)
    with pytest.raises(EvidenceError, match="not the identity in its payload"):
        Deed.parse(sealed(world.real.deed.envelope.payload, world.forger))


def _verify(world: World, deed: Deed, opening: Opening) -> None:
    verify(
        world.real.file,
        deed=deed,
        opening=opening,
        trust=world.trust,
        nonce=NONCE,
        reference=world.real.file,
    )
