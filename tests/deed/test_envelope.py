"""The envelope: what is signed, one spelling, no byte that could change."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldeed import Deed, Owner
from modeldeed.deed.envelope import MAX_ENVELOPE_BYTES, Envelope, pre_authentication
from modeldeed.digests import canonical_json
from modeldeed.errors import EvidenceError
from modeldeed.identity import Identity
from tests.deed.conftest import Marked


@pytest.fixture(scope="module")
def data(marked: Marked) -> bytes:
    return (marked.folder / "model.deed" / "deed.json").read_bytes()


def form(data: bytes) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(data)
    return parsed


def test_the_signature_is_over_the_documented_bytes(data: bytes, owner: Owner) -> None:
    fields = form(data)
    payload = base64.b64decode(fields["payload"])
    (signature,) = fields["signatures"]
    kind = b"application/vnd.in-toto+json"
    signed = b"DSSEv1 28 " + kind + b" " + str(len(payload)).encode() + b" " + payload
    sig = base64.b64decode(signature["sig"])
    assert owner.identity.verify(sig, signed)
    assert signature["keyid"] == hashlib.sha256(owner.identity.public_key).hexdigest()
    assert set(fields) == {"payload", "payloadType", "signatures"}
    assert fields["payloadType"] == kind.decode()
    imprint = hashlib.sha256(signed + (64).to_bytes(8, "big") + sig).digest()
    assert Deed.parse(data).imprint == imprint


def test_no_byte_of_a_deed_can_change() -> None:
    """Every byte of a real deed, each with a flip of its own."""
    data = (Path(__file__).parent / "golden" / "model.deed" / "deed.json").read_bytes()
    Deed.parse(data)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << (place % 8)
        with pytest.raises(EvidenceError):
            Deed.parse(bytes(changed))


def test_no_bit_of_the_signature_can_change(data: bytes) -> None:
    """Base64 has spare bits at its end, which decoders ignore: they count here."""
    for place in range(len(data) - 100, len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            with pytest.raises(EvidenceError):
                Deed.parse(bytes(changed))


@given(place=st.integers(0, 10**9), value=st.integers(0, 255), kind=st.sampled_from("rid"))
def test_no_edit_of_a_deed_passes(marked: Marked, place: int, value: int, kind: str) -> None:
    data = marked.deed.envelope.to_bytes()
    at, new = place % len(data), bytes([value])
    changed = {
        "r": data[:at] + new + data[at + 1 :],
        "i": data[:at] + new + data[at:],
        "d": data[:at] + data[at + 1 :],
    }[kind]
    if changed != data:
        with pytest.raises(EvidenceError):
            Deed.parse(changed)


def swapped_case(fields: dict[str, Any]) -> bytes:
    fields["signatures"][0]["keyid"] = fields["signatures"][0]["keyid"].upper()
    return canonical_json(fields)


def without_signature(fields: dict[str, Any]) -> bytes:
    return canonical_json({**fields, "signatures": []})


def two_signatures(fields: dict[str, Any]) -> bytes:
    return canonical_json({**fields, "signatures": fields["signatures"] * 2})


def with_space(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode()


def with_line_break(fields: dict[str, Any]) -> bytes:
    return canonical_json(fields) + b"\n"


def with_field(fields: dict[str, Any]) -> bytes:
    return canonical_json({**fields, "note": "x"})


def other_type(fields: dict[str, Any]) -> bytes:
    return canonical_json({**fields, "payloadType": "application/json"})


def doubled_key(fields: dict[str, Any]) -> bytes:
    return canonical_json(fields).replace(b'{"payload"', b'{"payload":"","payload"', 1)


def url_safe(fields: dict[str, Any]) -> bytes:
    sig = base64.b64decode(fields["signatures"][0]["sig"])
    text = base64.urlsafe_b64encode(sig).decode().rstrip("=")
    return canonical_json({**fields, "signatures": [{**fields["signatures"][0], "sig": text}]})


@pytest.mark.parametrize(
    "change",
    [
        swapped_case,
        without_signature,
        two_signatures,
        with_space,
        with_line_break,
        with_field,
        other_type,
        doubled_key,
        url_safe,
    ],
)
def test_an_envelope_has_one_spelling(
    data: bytes, change: Callable[[dict[str, Any]], bytes]
) -> None:
    with pytest.raises(EvidenceError):
        Deed.parse(change(form(data)))


def test_another_key_cannot_take_a_deed_over(data: bytes, stranger: Owner) -> None:
    """Neither by signing the owner's payload nor by naming his own key beside it."""
    payload = base64.b64decode(form(data)["payload"])
    with pytest.raises(EvidenceError, match="not the identity in its payload"):
        Deed.parse(Envelope.signed(payload, stranger).to_bytes())
    both = payload.replace(
        b'"identity":"',
        b'"x":{"identity":"' + stranger.identity.public_key.hex().encode() + b'"},"identity":"',
        1,
    )
    with pytest.raises(EvidenceError, match="malformed"):
        Deed.parse(Envelope.signed(both, stranger).to_bytes())


def test_a_key_in_another_field_is_not_the_identity(marked: Marked, stranger: Owner) -> None:
    """A licensee's countersignature holds identities too; only the predicate's own one signs."""
    upstream = marked.deed
    consent = upstream.license(marked.owner, stranger.identity, "MIT")
    derived = Deed.create(
        marked.model, owner=marked.owner, marks=[marked.passport], derived_from=[upstream]
    )
    statement = derived.statement.model_dump(mode="json", by_alias=True, exclude_none=True)
    statement["predicate"]["derived_from"][0]["countersignature"] = consent.model_copy(
        update={"identity": stranger.identity.public_key.hex()}
    ).model_dump(mode="json", exclude_none=True)
    forged = Envelope.signed(canonical_json(statement), stranger)
    with pytest.raises(EvidenceError, match="another key than its statement names"):
        Deed.parse(forged.to_bytes())


def test_a_key_of_small_order_is_refused(data: bytes) -> None:
    """One signature of it would fit every message."""
    weak = bytes([1]) + bytes(31)
    payload = base64.b64decode(form(data)["payload"])
    own = Deed.parse(data).statement.predicate.identity
    fields = form(data)
    fields["payload"] = base64.b64encode(
        payload.replace(own.encode(), weak.hex().encode())
    ).decode()
    sig = weak + bytes(32)
    fields["signatures"] = [
        {"keyid": hashlib.sha256(weak).hexdigest(), "sig": base64.b64encode(sig).decode()}
    ]
    with pytest.raises(EvidenceError, match="small order"):
        Deed.parse(canonical_json(fields))


def test_large_and_deep_files_cost_nothing(copied: Path) -> None:
    """A file of 1 GB, and JSON nested deeper than any stack."""
    file = copied / "deed.json"
    with file.open("r+b") as opened:
        opened.truncate(2**30)  # a hole: nothing is written
    started = time.perf_counter()
    with pytest.raises(EvidenceError, match="over the limit"):
        Deed.load(copied)
    for deep in (b"[" * MAX_ENVELOPE_BYTES, b'{"a":' * (MAX_ENVELOPE_BYTES // 5)):
        with pytest.raises(EvidenceError, match="nested"):
            Deed.parse(deep)
    assert time.perf_counter() - started < 1


def test_a_deep_payload_is_refused(owner: Owner) -> None:
    key = owner.identity.public_key.hex()
    payload = b'{"identity":"%s","a":%s1%s}' % (key.encode(), b"[" * 10**6, b"]" * 10**6)
    data = Envelope.signed(payload, owner).to_bytes()
    started = time.perf_counter()
    with pytest.raises(EvidenceError):
        Deed.parse(data)
    assert time.perf_counter() - started < 2


def test_a_device_is_no_deed(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="no regular file"):
        Deed.load(Path("/dev/zero"))


def test_an_identity_signs_what_it_says(owner: Owner) -> None:
    envelope = Envelope.signed(
        b'{"identity":"%s"}' % owner.identity.public_key.hex().encode(), owner
    )
    again = Envelope.parse(envelope.to_bytes())
    assert again == envelope
    assert isinstance(again.identity, Identity)
    assert again.identity.verify(again.signature, pre_authentication(again.payload))
