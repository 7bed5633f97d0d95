"""The manifest: one changed byte is noticed, and only strict JSON counts."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldeed.anchor import Anchor, PassportRule, Target, seed_commitment
from modeldeed.errors import EvidenceError
from modeldeed.manifest import MAX_BYTES
from modeldeed.owner import Owner
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.strict_json import strict_json


def made(owner: Owner, label: str = "model", **changes: Any) -> Manifest:
    target = Target(
        norm="norm",
        kind="batch",
        channels=4,
        affine="norm.weight",
        weight="conv.weight",
        shape=(4, 1, 3, 3),
        axis=0,
        side="rows",
    )
    anchor = Anchor(
        identity=owner.identity.public_key.hex(),
        seed_commitment=seed_commitment(owner.seed(label), owner.identity.public_key),
        weights_root="1" * 64,
        architecture="2" * 64,
        planner=1,
        targets=(target,),
        classes=("cat", "dög"),
        passport=PassportRule(head="keyed"),
    )
    unsigned = Manifest(anchor=anchor, label=label, calls={"norm": 1})
    return unsigned.model_copy(update=changes).signed_by(owner, state="3" * 64)


def accepted(data: bytes) -> Manifest:
    manifest = Manifest.from_json(data)
    manifest.require_authentic()
    return manifest


@pytest.fixture(scope="module")
def written(owner: Owner) -> bytes:
    return made(owner).to_json()


def test_a_signed_manifest_is_authentic(owner: Owner, written: bytes) -> None:
    assert accepted(written) == made(owner)
    assert owner.identity.verify(
        base64.b64decode(json.loads(written)["signature"]), made(owner).preimage()
    )


def test_the_signed_bytes_are_documented(owner: Owner, written: bytes) -> None:
    fields = json.loads(written)
    del fields["signature"]
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert made(owner).preimage() == b"modeldeed/v1/passport\x00" + text.encode()


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80])
def test_no_byte_can_be_flipped(written: bytes, mask: int) -> None:
    for position in range(len(written)):
        changed = bytearray(written)
        changed[position] ^= mask
        try:
            accepted(bytes(changed))
        except EvidenceError:
            continue
        pytest.fail(f"byte {position} ({written[position : position + 1]!r}) may be flipped")


@given(st.data())
def test_a_byte_replaced_by_any_other_never_changes_the_meaning(data: st.DataObject) -> None:
    written = made(Owner(bytes(32))).to_json()
    position = data.draw(st.integers(0, len(written) - 1))
    changed = bytearray(written)
    changed[position] = data.draw(st.integers(0, 255))
    try:
        found = accepted(bytes(changed))
    except EvidenceError:
        return
    # Only white space between fields can be another byte.
    assert found == accepted(written)
    assert bytes([changed[position]]) in b" \t\r\n" or changed == written


def test_a_byte_less_or_more_is_noticed(written: bytes) -> None:
    for position in range(0, len(written) - 1, 3):
        for changed in (
            written[:position],
            written[:position] + written[position + 1 :],
            written[:position] + b"0" + written[position:],
        ):
            try:
                found = accepted(changed)
            except EvidenceError:
                continue
            assert found.to_json() == written, position
            assert changed.translate(None, b" \n") == written.translate(None, b" \n")


def test_white_space_has_no_meaning(written: bytes) -> None:
    compact = json.dumps(json.loads(written), separators=(",", ":"), ensure_ascii=False)
    assert accepted(compact.encode()) == accepted(written)


EDITS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "label": lambda m: m.update(label="other"),
    "calls": lambda m: m["calls"].update(norm=2),
    "more calls": lambda m: m["calls"].update(norm2=1),
    "state": lambda m: m.update(state="4" * 64),
    "no state": lambda m: m.update(state=None),
    "class": lambda m: m["anchor"]["classes"].reverse(),
    "left out": lambda m: m["anchor"]["targets"][0].update(left_out=[0]),
    "rows": lambda m: m["anchor"]["passport"].update(rows="shared"),
    "unsigned": lambda m: m.update(signature=""),
    "not base64": lambda m: m.update(signature="é" * 88),
    "short": lambda m: m.update(signature=m["signature"][:-4]),
    "padded": lambda m: m.update(signature=m["signature"] + "===="),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_breaks_the_signature(written: bytes, edit: str) -> None:
    fields = json.loads(written)
    EDITS[edit](fields)
    with pytest.raises(EvidenceError, match="signature"):
        accepted(json.dumps(fields).encode())


def test_a_signature_has_one_spelling(written: bytes) -> None:
    """64 bytes are 86 base64 digits, the last with four spare bits a decoder would ignore."""
    fields = json.loads(written)
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = digits.index(fields["signature"][85])
    other = fields["signature"][:85] + digits[last ^ 1] + "=="
    assert base64.b64decode(other) == base64.b64decode(fields["signature"])
    fields["signature"] = other
    with pytest.raises(EvidenceError, match="canonical base64"):
        accepted(json.dumps(fields).encode())


def test_a_signature_of_another_identity_does_not_fit(owner: Owner, stranger: Owner) -> None:
    forged = made(owner).signed_by(stranger, state="3" * 64)
    with pytest.raises(EvidenceError, match="altered"):
        forged.require_authentic()


def test_an_identity_swapped_in_does_not_help(owner: Owner, stranger: Owner) -> None:
    public = stranger.identity.public_key.hex()
    anchor = made(owner).anchor.model_copy(update={"identity": public})
    swapped = made(owner, anchor=anchor)
    with pytest.raises(EvidenceError, match="altered"):
        swapped.require_authentic()
    signed = swapped.signed_by(stranger, state="3" * 64)
    signed.require_authentic()
    # The signature fits now, but the commitment to the victim's seed does not open.
    with pytest.raises(EvidenceError, match="not the one this passport's anchor commits to"):
        signed.model_key(stranger)
    with pytest.raises(EvidenceError, match="belongs to identity"):
        signed.model_key(owner)


def test_a_weak_identity_is_refused(owner: Owner) -> None:
    """Under pk = 1 the library would accept this signature for every manifest."""
    weak = "01" + "00" * 31
    anchor = made(owner).anchor.model_copy(update={"identity": weak})
    forged = made(owner, anchor=anchor).model_copy(
        update={"signature": base64.b64encode(bytes([1]) + bytes(63)).decode()}
    )
    with pytest.raises(EvidenceError, match="small order"):
        accepted(forged.to_json())


def test_keys_come_from_label_and_owner(owner: Owner, stranger: Owner) -> None:
    manifest = made(owner)
    key = manifest.model_key(owner)
    assert key == manifest.anchor.model_key(owner.seed("model"))
    assert manifest.wrong_key(stranger) not in (key, manifest.wrong_key(Owner(bytes(32))))
    assert manifest.wrong_key(stranger) == made(stranger).model_key(stranger)
    with pytest.raises(EvidenceError, match="belongs to identity"):
        manifest.model_key(stranger)
    with pytest.raises(EvidenceError, match="issued under another label"):
        made(owner, label="model").model_copy(update={"label": "other"}).model_key(owner)


# --- strict JSON ---


def edited(written: bytes, old: str, new: str) -> bytes:
    text = written.decode()
    assert text.count(old) == 1
    return text.replace(old, new).encode()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"label": "model"', '"label": "model", "label": "model"', "twice.*label"),
        ('"norm": 1', '"norm": 1, "norm": 1', "twice.*norm"),
        ('"planner": 1', '"planner": 1.0', "no floats, got 1.0"),
        ('"planner": 1', '"planner": 1e0', "no floats, got 1e0"),
        ('"planner": 1', '"planner": NaN', "no floats, got NaN"),
        ('"planner": 1', '"planner": -Infinity', "no floats, got -Infinity"),
        ('"planner": 1', '"planner": true', "anchor.planner"),
        ('"planner": 1', '"planner": "1"', "anchor.planner"),
        ('"planner": 1', '"planner": 01', "not a JSON document"),
        ('"planner": 1', f'"planner": 1{"0" * 5000}', "not a JSON document"),
        ('"dög"', '"do\u0308g"', "normal form C"),
        ('"dög"', r'"do\u0308g"', "normal form C"),
        ('"norm": 1', '"no\u0308rm": 1', "normal form C"),
        ('"norm": 1', r'"no\u0308rm": 1', "normal form C"),
        ('"dög"', r'"\ud800"', "malformed|normal form"),
        ('"label": "model"', '"label": ""', "malformed at label"),
        ('"label": "model"', f'"label": "{"x" * 201}"', "malformed at label"),
        ('"label": "model"', '"label": "model", "more": 1', "malformed at more"),
        ('"norm": 1', '"norm": 0', "malformed at calls"),
        ('"axis": 0', '"axis": 9', "malformed at anchor.targets"),
        ('"modeldeed-passport/v1"', '"modeldeed-passport/v2"', "malformed at format"),
    ],
)
def test_only_strict_json_is_parsed(written: bytes, old: str, new: str, words: str) -> None:
    with pytest.raises(EvidenceError, match=words):
        Manifest.from_json(edited(written, old, new))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32-be"])
def test_only_utf8_is_parsed(written: bytes, encoding: str) -> None:
    with pytest.raises(EvidenceError):
        Manifest.from_json(written.decode().encode(encoding))


@pytest.mark.parametrize(
    "data", [b"", b"null", b"[]", b"{}", b"\x00", b'"', b"\xff", b"{} {}", b"1", b"PK\x03\x04"]
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        Manifest.from_json(data)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_deep_nesting_is_refused_in_bounded_time(opening: bytes) -> None:
    start = time.perf_counter()
    with pytest.raises(EvidenceError, match="not a JSON document"):
        Manifest.from_json(opening * 100_000)
    assert time.perf_counter() - start < 2


def test_nesting_about_the_recursion_limit_never_escapes() -> None:
    """Parser and text check have different depths: neither may raise RecursionError."""
    refused = 0
    for depth in [*range(100, 1100, 7), 5000, 50_000]:
        data = b"[" * depth + b"]" * depth
        try:
            strict_json(data)
        except EvidenceError:
            refused += 1
        with pytest.raises(EvidenceError):
            Manifest.from_json(data)
    assert refused >= 2


def test_a_giant_manifest_is_refused_unparsed() -> None:
    with pytest.raises(EvidenceError, match=f"{MAX_BYTES + 1} bytes, over {MAX_BYTES}"):
        Manifest.from_json(b" " * (MAX_BYTES + 1))
