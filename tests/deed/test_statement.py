"""The statement: an in-toto Statement, parsed strictly, with budgets that can only tighten."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from modeldeed import Deed, Owner, __version__
from modeldeed.deed.budgets import floor_of
from modeldeed.deed.envelope import Envelope
from modeldeed.deed.statement import Statement
from modeldeed.digests import canonical_json
from modeldeed.errors import EvidenceError, OptionError
from tests.deed.conftest import Marked


@pytest.fixture
def said(marked: Marked) -> dict[str, Any]:
    """The statement as anybody parses it."""
    value: dict[str, Any] = json.loads(marked.deed.envelope.payload)
    return value


def signed(said: dict[str, Any], owner: Owner) -> bytes:
    return Envelope.signed(canonical_json(said), owner).to_bytes()


def test_it_is_an_in_toto_statement_about_the_files(said: dict[str, Any], marked: Marked) -> None:
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["predicateType"] == "https://modeldeed.org/deed/v1"
    file, tensors = said["subject"]
    assert file["name"] == "model.safetensors"
    assert set(file["digest"]) == {"sha256", "blake3"}
    assert list(tensors["digest"]) == ["modeldeedTensorRootV1"]
    predicate = said["predicate"]
    assert predicate["format"] == "modeldeed-deed/v1"
    assert predicate["identity"] == marked.owner.identity.public_key.hex()
    assert predicate["library"] == __version__
    assert [mark["kind"] for mark in predicate["marks"]] == ["passport", "triggers"]
    assert len({mark["anchor"] for mark in predicate["marks"]}) == 1
    assert Statement.parse(canonical_json(said)).to_payload() == marked.deed.envelope.payload


def test_nothing_secret_is_in_it(marked: Marked) -> None:
    public = marked.deed.envelope.to_bytes() + marked.deed.envelope.payload
    seed, manifest = marked.owner.seed("resnet-v1"), marked.passport.manifest
    for secret in (seed, manifest.model_key(marked.owner)):
        assert secret not in public
        assert secret.hex().encode() not in public
    for text in ("resnet-v1", "A1", manifest.anchor.targets[0].norm + '"', "keyed"):
        assert f'"{text}"'.encode() not in public


def unknown_field(said: dict[str, Any]) -> None:
    said["predicate"]["marks"][0]["note"] = "x"


def unknown_algorithm(said: dict[str, Any]) -> None:
    said["predicate"]["algorithms"]["hash"] = "SHA-1"


def other_statement(said: dict[str, Any]) -> None:
    said["_type"] = "https://in-toto.io/Statement/v0.1"


def one_digest(said: dict[str, Any]) -> None:
    del said["subject"][0]["digest"]["blake3"]


def no_tensors(said: dict[str, Any]) -> None:
    said["subject"] = [said["subject"][0]] * 2


def laxer_alpha(said: dict[str, Any]) -> None:
    said["predicate"]["marks"][0]["budget"]["alpha_log2"] = 63


def anchored_price(said: dict[str, Any]) -> None:
    said["predicate"]["marks"][0]["budget"]["grinding_log2"] = 20


def mark_twice(said: dict[str, Any]) -> None:
    said["predicate"]["marks"].append(said["predicate"]["marks"][0])


def odd_text(said: dict[str, Any]) -> None:
    said["predicate"]["library"] = "e\u0301"


def control(said: dict[str, Any]) -> None:
    said["subject"][0]["name"] = "model\u001b[2J"


@pytest.mark.parametrize(
    "change",
    [
        unknown_field,
        unknown_algorithm,
        other_statement,
        one_digest,
        no_tensors,
        laxer_alpha,
        anchored_price,
        mark_twice,
        odd_text,
        control,
    ],
)
def test_what_even_its_owner_cannot_say(
    said: dict[str, Any], owner: Owner, change: Callable[[dict[str, Any]], None]
) -> None:
    change(said)
    with pytest.raises(EvidenceError):
        Deed.parse(signed(said, owner))


def test_floats_and_duplicate_keys_are_refused(marked: Marked) -> None:
    payload = marked.deed.envelope.payload
    for changed in (
        payload.replace(b'"alpha_log2":64', b'"alpha_log2":64.0'),
        payload.replace(b'"alpha_log2":64', b'"alpha_log2":64,"alpha_log2":64'),
        payload.replace(b'"alpha_log2":64', b'"alpha_log2":"64"'),
        payload.replace(b'"alpha_log2":64', b'"alpha_log2":NaN'),
    ):
        assert changed != payload
        with pytest.raises(EvidenceError):
            Deed.parse(Envelope.signed(changed, marked.owner).to_bytes())


def test_a_later_version_is_refused_with_help(said: dict[str, Any], owner: Owner) -> None:
    said["predicate"]["format"] = "modeldeed-deed/v2"
    said["predicate"]["something"] = "new"
    with pytest.raises(EvidenceError, match=r"modeldeed-deed/v2.*install a newer one"):
        Deed.parse(signed(said, owner))
    said["predicate"] = {"buildType": "x", "identity": owner.identity.public_key.hex()}
    with pytest.raises(EvidenceError, match="no deed"):
        Deed.parse(signed(said, owner))


def test_a_mark_of_the_future_fits(said: dict[str, Any], owner: Owner) -> None:
    """Without a change of the format: it is shown, and not examined."""
    later = {**said["predicate"]["marks"][1], "kind": "canary-2", "batches": []}
    later["commitments"] = {"canaries": "0" * 64}
    said["predicate"]["marks"].append(later)
    deed = Deed.parse(signed(said, owner))
    check = deed.check()
    assert check.valid
    assert [mark.known for mark in check.marks] == [True, True, False]
    assert any("canary-2" in sentence for sentence in check.not_checked)


def test_budgets_only_tighten(marked: Marked) -> None:
    model, owner, marks = marked.model, marked.owner, [marked.folder / "passport"]
    strict = Deed.create(
        model, owner=owner, marks=marks, alpha_log2={"triggers": 40}, grinding_log2=80
    )
    numbers = [(m.budget.alpha_log2, m.budget.grinding_log2) for m in strict.marks]
    assert numbers == [(64, 80), (40, 80)]
    with pytest.raises(OptionError, match="only be stricter"):
        Deed.create(model, owner=owner, marks=marks, alpha_log2={"passport": 63})
    with pytest.raises(OptionError, match="only be stricter"):
        Deed.create(model, owner=owner, marks=marks, grinding_log2=20)
    assert floor_of("passport", anchored=True).grinding_log2 == 20
    assert floor_of("triggers", anchored=False).alpha_log2 == 20


@pytest.mark.parametrize("path", [("_type",), ("predicateType",), ("predicate", "algorithms")])
def test_what_must_be_said_is_said(
    said: dict[str, Any], owner: Owner, path: tuple[str, ...]
) -> None:
    """Silence about a type or an algorithm could be filled by whoever reads."""
    *parents, name = path
    holder = said
    for parent in parents:
        holder = holder[parent]
    value = holder.pop(name)
    with pytest.raises(EvidenceError):
        Deed.parse(signed(said, owner))
    if isinstance(value, dict):
        for inner in value:
            holder[name] = {key: each for key, each in value.items() if key != inner}
            with pytest.raises(EvidenceError):
                Deed.parse(signed(said, owner))


def test_millions_of_faults_are_not_described(owner: Owner) -> None:
    payload = b'{"identity":"%s","predicate":{"format":"modeldeed-deed/v1"},"x":[%s]}' % (
        owner.identity.public_key.hex().encode(),
        b",".join([b"{}"] * 10**6),
    )
    with pytest.raises(EvidenceError, match="values"):
        Deed.parse(Envelope.signed(payload, owner).to_bytes())
