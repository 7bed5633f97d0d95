"""One meaning and one spelling: duplicate fields, odd text, odd numbers, odd envelopes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from modeldeed.deed import Deed, Opening
from modeldeed.digests import canonical_json
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.trust import Trust
from tests.deed.forgeries.world import World, sealed

Statement = dict[str, Any]


def signed_text(world: World, change: Callable[[bytes], bytes]) -> bytes:
    """The deed's file after a change of its payload's text, signed by the owner himself."""
    payload = world.real.deed.envelope.payload
    changed = change(payload)
    assert changed != payload
    return sealed(changed, world.real.owner)


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda text: text.replace(old, new, 1)


def inserted(text: str) -> Callable[[bytes], bytes]:
    """Fields at the begin of the predicate."""
    return replaced(b'"predicate":{', b'"predicate":{' + text.encode())


TEXTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "duplicate field": (inserted('"library":"x",'), "twice"),
    "duplicate field, escaped": (inserted('"l\\u0069brary":"x",'), "twice"),
    "duplicate identity": (inserted('"identity":"' + "0" * 64 + '",'), "twice"),
    "duplicate commitment": (replaced(b'"commitments":{', b'"commitments":{"label":"",'), "twice"),
    "float": (replaced(b'"alpha_log2":64', b'"alpha_log2":64.0'), "float"),
    "exponent": (replaced(b'"alpha_log2":64', b'"alpha_log2":64e0'), "float"),
    "tiny float": (replaced(b'"alpha_log2":64', b'"alpha_log2":1e-400'), "float"),
    "nan": (replaced(b'"alpha_log2":64', b'"alpha_log2":NaN'), "float"),
    "infinity": (replaced(b'"alpha_log2":64', b'"alpha_log2":Infinity'), "float"),
    "number as text": (replaced(b'"alpha_log2":64', b'"alpha_log2":"64"'), "alpha_log2"),
    "truth as number": (replaced(b'"alpha_log2":64', b'"alpha_log2":true'), "alpha_log2"),
    "null": (replaced(b'"alpha_log2":64', b'"alpha_log2":null'), "alpha_log2"),
    "negative zero": (replaced(b'"alpha_log2":64', b'"alpha_log2":-0'), "alpha_log2"),
    "leading zero": (replaced(b'"alpha_log2":64', b'"alpha_log2":064'), "JSON"),
    "huge integer": (replaced(b'"alpha_log2":64', b'"alpha_log2":1' + b"0" * 400), "alpha_log2"),
    "endless integer": (replaced(b'"alpha_log2":64', b'"alpha_log2":1' + b"0" * 10**5), "JSON"),
    "other digits": (replaced(b'"alpha_log2":64', '"alpha_log2":６４'.encode()), "JSON"),
    "deep nesting": (inserted('"x":' + "[" * 200_000 + "]" * 200_000 + ","), "JSON|malformed"),
    "some nesting": (inserted('"x":' + "[" * 500 + "]" * 500 + ","), "malformed"),
    "deep objects": (inserted('"x":' + '{"a":' * 100_000 + "0" + "}" * 100_000 + ","), "JSON"),
    "comment": (replaced(b"{", b"/**/{"), "JSON"),
    "two documents": (lambda text: text + text, "JSON"),
    "byte order mark": (lambda text: b"\xef\xbb\xbf" + text, "JSON"),
    "another encoding": (lambda text: text + b"\xff", "JSON"),
    "overlong slash": (replaced(b"https:/", b"https:\xc0\xaf"), "JSON"),
    "lone surrogate": (replaced(b'"library":"', b'"library":"\\ud800'), "predicate|malformed|JSON"),
    "raw control": (replaced(b'"library":"', b'"library":"\x00'), "JSON"),
    "escape code": (replaced(b'"library":"', b'"library":"\\u001b[2J'), "library"),
    "line break": (replaced(b'"library":"', b'"library":"\\n'), "library"),
    "bidi override": (replaced(b'"library":"', '"library":"\u202e'.encode()), "library"),
    "bidi isolate": (replaced(b'"library":"', b'"library":"\\u2066'), "library"),
    "zero width": (replaced(b'"library":"', '"library":"\u200b'.encode()), "library"),
    "decomposed": (replaced(b'"library":"', '"library":"e\u0301'.encode()), "normal form"),
    "decomposed, escaped": (replaced(b'"library":"', b'"library":"e\\u0301'), "normal form"),
    "compatibility": (replaced(b'"library":"', '"library":"\u212b'.encode()), "normal form"),
    "confusable name": (replaced(b'"library"', '"lіbrary"'.encode()), "malformed"),  # Cyrillic
    "upper case name": (replaced(b'"library"', b'"Library"'), "malformed"),
    "name with a blank": (replaced(b'"library"', b'"library "'), "malformed"),
    "wide letters": (replaced(b'"library"', '"ｌibrary"'.encode()), "malformed"),
    "unknown field": (inserted('"note":"",'), "malformed"),
    "confusable kind": (replaced(b'"kind":"passport"', '"kind":"pаssport"'.encode()), "kind"),
    "confusable format": (replaced(b"modeldeed-deed/v1", "modeldeed-deеd/v1".encode()), "no deed"),
    "unknown version": (replaced(b"modeldeed-deed/v1", b"modeldeed-deed/v2"), "install a newer"),
    "version 10": (replaced(b"modeldeed-deed/v1", b"modeldeed-deed/v10"), "install a newer"),
    "minor version": (replaced(b"modeldeed-deed/v1", b"modeldeed-deed/v1.1"), "install a newer"),
    "unknown statement": (replaced(b"Statement/v1", b"Statement/v0.1"), "_type"),
    "unknown predicate": (replaced(b"org/deed/v1", b"org/deed/v2"), "predicateType"),
    "unknown signature": (replaced(b'"Ed25519"', b'"none"'), "signature"),
    "unknown hash": (replaced(b'"SHA-256"', b'"SHA-1"'), "hash"),
    "upper case digits": (replaced(b'"anchor":"', b'"anchor":"A'), "anchor"),
    "blank": (lambda _: b"", "JSON|not the identity"),
    "a list": (lambda text: b"[" + text + b"]", "no deed"),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_a_signed_payload_has_one_meaning(world: World, name: str) -> None:
    """The owner himself signs all of these; that makes none of them a deed."""
    change, reason = TEXTS[name]
    with pytest.raises(EvidenceError, match=reason):
        Deed.parse(signed_text(world, change))


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"predicateType"', b'"predicate_type"'), (b'"_type"', b'"type_"'),
     (b'"modeldeedTensorRootV1"', b'"root"')],
)  # fmt: skip
def test_a_field_has_only_the_name_of_the_format(world: World, old: bytes, new: bytes) -> None:
    with pytest.raises(EvidenceError):
        Deed.parse(signed_text(world, replaced(old, new)))


@pytest.mark.parametrize("field", ["algorithms", "_type", "predicateType"])
def test_what_must_be_said_is_said(world: World, field: str) -> None:
    """SOUNDNESS §8: algorithm names stand inside the signed payload."""

    def silent(statement: Statement) -> None:
        (statement if field in statement else statement["predicate"]).pop(field)

    with pytest.raises(EvidenceError):
        Deed.parse(world.forged(silent))


ENVELOPES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no signature": lambda e: e | {"signatures": []},
    "two signatures": lambda e: e | {"signatures": e["signatures"] * 2},
    "a second key": lambda e: e | {"signatures": [*e["signatures"], {"keyid": "0" * 64,
                                                                     "sig": "A" * 86 + "=="}]},
    "extra field": lambda e: e | {"note": ""},
    "extra in signature": lambda e: e | {"signatures": [e["signatures"][0] | {"cert": ""}]},
    "no keyid": lambda e: e | {"signatures": [{"sig": e["signatures"][0]["sig"]}]},
    "empty keyid": lambda e: e | {"signatures": [e["signatures"][0] | {"keyid": ""}]},
    "payload type": lambda e: e | {"payloadType": "application/json"},
    "payload type in capitals": lambda e: e | {"payloadType": e["payloadType"].upper()},
    "line break in base64": lambda e: e | {"payload": e["payload"][:76] + "\n" + e["payload"][76:]},
    "blank in base64": lambda e: e | {"payload": " " + e["payload"]},
    "base64 for addresses": lambda e: e | {"signatures": [e["signatures"][0] | {
        "sig": e["signatures"][0]["sig"][:5] + "-_" + e["signatures"][0]["sig"][7:]}]},
    "no padding": lambda e: e | {"signatures": [e["signatures"][0] | {
        "sig": e["signatures"][0]["sig"].rstrip("=")}]},
    "more padding": lambda e: e | {"payload": e["payload"] + "===="},
    "payload as an object": lambda e: e | {"payload": json.loads(base64.b64decode(e["payload"]))},
    "a list": lambda e: [e],
    "a text": json.dumps,
}  # fmt: skip


@pytest.mark.parametrize("name", ENVELOPES)
def test_an_envelope_has_one_form(world: World, name: str) -> None:
    envelope = json.loads(world.real.deed.envelope.to_bytes())
    with pytest.raises(EvidenceError):
        Deed.parse(canonical_json(ENVELOPES[name](envelope)))


@pytest.mark.parametrize("where", ["payload", "sig"])
def test_spare_bits_of_base64_are_no_second_spelling(world: World, where: str) -> None:
    """The last digit before the padding has bits that decoders ignore."""
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

    # Three lengths of a payload, of which two leave spare bits.
    for size in range(3):
        payload = world.real.deed.envelope.payload + b" " * size
        envelope = json.loads(sealed(payload, world.real.owner))
        holder = envelope if where == "payload" else envelope["signatures"][0]
        text = holder[where]
        end = text.rstrip("=")
        if end == text:
            continue
        last = digits[digits.index(end[-1]) ^ 1]
        holder[where] = end[:-1] + last + text[len(end) :]
        assert base64.b64decode(holder[where]) == base64.b64decode(text)
        with pytest.raises(EvidenceError):
            Deed.parse(canonical_json(envelope))


@pytest.mark.parametrize("form", [
    lambda e: json.dumps(e).encode(), lambda e: json.dumps(e, indent=1).encode(),
    lambda e: canonical_json(e).replace(b"payloadType", b"payload\\u0054ype"),
    lambda e: canonical_json(e).replace(b"/vnd", b"\\/vnd"),
    lambda e: canonical_json(e) + b"\n", lambda e: canonical_json(e).decode().encode("utf-16"),
    lambda e: canonical_json(dict(reversed(e.items())))[:-1] + b',"payload":""}',
])  # fmt: skip
def test_an_envelope_has_one_spelling(world: World, form: Callable[[Any], bytes]) -> None:
    envelope = json.loads(world.real.deed.envelope.to_bytes())
    with pytest.raises(EvidenceError):
        Deed.parse(form(envelope))


def test_a_payload_written_anew_is_not_what_was_signed(world: World) -> None:
    """The same statement with blanks, or in another order, under the old signature."""
    deed = world.real.deed
    statement = json.loads(deed.envelope.payload)
    for payload in (json.dumps(statement).encode(), json.dumps(statement, indent=2).encode(),
                    deed.envelope.payload + b"\n"):  # fmt: skip
        envelope = json.loads(deed.envelope.to_bytes())
        envelope["payload"] = base64.b64encode(payload).decode()
        with pytest.raises(EvidenceError, match="altered"):
            Deed.parse(canonical_json(envelope))


@pytest.mark.parametrize("terms", ["\x1b[2Jverified", "\u202edeifirev", "MIT\n\nverified"])
def test_terms_of_a_licence_can_be_printed(world: World, terms: str) -> None:
    def licensed(statement: Statement) -> None:
        statement["predicate"]["derived_from"] = [{"tensor_root": "0" * 64, "terms": terms}]

    with pytest.raises(EvidenceError):
        Deed.parse(world.forged(licensed))


@pytest.mark.parametrize("change", [
    lambda t: t.replace(b'"nonce":', b'"nonce":"",\n "nonce":', 1),
    lambda t: t.replace(b'"nonce":', b'"n\\u006fnce":"",\n "nonce":', 1),
    lambda t: t.replace(b'"places"', b'"Places"', 1).replace(b'"deed":', '"dеed":'.encode(), 1),
    lambda t: t.replace(b"{", b'{"note": 1,', 1),
    lambda t: t.replace(b"{", b'{"note": 1.5,', 1),
    lambda t: t.replace(b"opening/v1", b"opening/v2", 1),
    lambda t: t.replace(b"{", b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b",", 1),
    lambda t: t.replace(b'"deed": "', b'"deed": "\\u202e', 1),
    lambda t: t + t,
])  # fmt: skip
def test_an_opening_has_one_meaning(world: World, change: Callable[[bytes], bytes]) -> None:
    text = world.real.opening().to_json()
    assert change(text) != text
    with pytest.raises(EvidenceError):
        Opening.from_json(change(text))


def test_a_trust_file_has_one_meaning(world: World, tmp_path: Any) -> None:
    text, path = world.trust.to_json(), tmp_path / "trust.json"
    for change in (
        replaced(b'"owners"', b'"owners": {}, "owners"'), replaced(b"{", b'{"note": 1,'),
        replaced(b"trust/v1", b"trust/v2"), replaced(b'"name": "', b'"name": "\\u202e'),
        replaced(b'"name": "', b'"name": "e\\u0301'), lambda t: t + t,
    ):  # fmt: skip
        path.write_bytes(change(text))
        with pytest.raises(OptionError):
            Trust.load(path)
