"""Deeds of another model, and models exchanged under a deed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from modeldeed import Verdict, verify
from modeldeed.deed import Deed
from modeldeed.deed.opening import SeedOpening
from modeldeed.errors import EvidenceError, SuspectError
from tests.deed.forgeries.world import NONCE, Registered, World, resigned, tensor_root


def subjects_of(deed: Deed) -> list[dict[str, Any]]:
    return list(json.loads(deed.envelope.payload)["subject"])


def test_a_deed_of_another_model_says_nothing_of_this_one(world: World, other: Registered) -> None:
    """The same owner, a deed that is in order, a model that it is not about."""
    found = other.deed.check(trust=world.trust, model=world.real.file)
    assert (found.valid, found.model) == (False, "another model")
    opening = other.opening(suspect=world.real.suspect)
    report = verify(
        world.real.file, deed=other.deed, opening=opening, trust=world.trust, nonce=NONCE,
        reference=other.file,
    )  # fmt: skip
    assert report.verdict is Verdict.NOT_VERIFIED
    with pytest.raises(EvidenceError, match="void: the reference is not the deed's model"):
        verify(
            world.real.file, deed=other.deed, opening=opening, trust=world.trust, nonce=NONCE,
            reference=world.real.file,
        )  # fmt: skip


def test_a_swapped_subject_breaks_the_signature(world: World, other: Registered) -> None:
    import base64

    from modeldeed.digests import canonical_json

    statement = json.loads(world.real.deed.envelope.payload)
    statement["subject"] = subjects_of(other.deed)
    envelope = json.loads(world.real.deed.envelope.to_bytes())
    envelope["payload"] = base64.b64encode(canonical_json(statement)).decode()
    with pytest.raises(EvidenceError, match="altered"):
        Deed.parse(canonical_json(envelope))


def test_a_swapped_subject_signed_anew_opens_nothing(world: World, other: Registered) -> None:
    """The salts follow from the tensor root: the commitments are those of one model."""

    def swapped(statement: dict[str, Any]) -> None:
        statement["subject"] = subjects_of(other.deed)

    deed = Deed.parse(world.forged(swapped), world.real.deed.tokens)
    with pytest.raises(EvidenceError, match="is over"):
        deed.check(trust=world.trust).require_valid()
    undated = Deed.parse(world.forged(swapped))
    opening = resigned(world.real.opening(), world.real.owner, deed=undated.digest)
    with pytest.raises(EvidenceError, match="seed is not the one"):
        verify(world.real.file, deed=undated, opening=opening, trust=world.trust, nonce=NONCE)


@pytest.mark.parametrize(
    "case",
    ["twice", "order", "no tensors", "only tensors", "tensors first", "one digest",
     "three digests", "short", "upper case"],
)  # fmt: skip
def test_subjects_have_one_form(world: World, case: str) -> None:
    real = subjects_of(world.real.deed)
    file, tensors = real
    sha256 = file["digest"]["sha256"]
    digests = {"sha256": sha256, "blake3": sha256}
    forms: dict[str, list[dict[str, Any]]] = {
        "twice": [file, file, tensors],
        "order": [file, {"name": "a.safetensors", "digest": digests}, tensors],
        "no tensors": [file, {"name": "z.safetensors", "digest": digests}],
        "only tensors": [tensors],
        "tensors first": [tensors, file],
        "one digest": [{"name": "m", "digest": {"sha256": sha256}}, tensors],
        "three digests": [{"name": "m", "digest": digests | {"sha512": sha256 * 2}}, tensors],
        "short": [{"name": "m", "digest": {"sha256": sha256[:62], "blake3": sha256}}, tensors],
        "upper case": [{"name": "m", "digest": {"sha256": sha256.upper(), "blake3": sha256}},
                       tensors],
    }  # fmt: skip

    def changed(statement: dict[str, Any]) -> None:
        statement["subject"] = forms[case]

    with pytest.raises(EvidenceError, match="subject"):
        Deed.parse(world.forged(changed))


def test_a_reference_of_the_same_name_with_other_weights_is_another(
    world: World, tmp_path: Path
) -> None:
    tensors = load_file(world.real.file)
    first = next(iter(tensors))
    changes = {
        "a weight": {**tensors, first: tensors[first] + 2**-20},
        "a name": {(f"{n}x" if n == first else n): t for n, t in tensors.items()},
        "a dtype": {n: t.to(torch.float64) for n, t in tensors.items()},
        "a shape": {n: t.reshape(1, *t.shape) for n, t in tensors.items()},
        "one more": {**tensors, "zz": torch.zeros(1)},
        "one less": {n: t for n, t in tensors.items() if n != first},
    }
    for what, changed in changes.items():
        path = tmp_path / "model.safetensors"
        save_file(changed, path)
        found = world.real.deed.check(model=path)
        assert (found.valid, found.model) == (False, "another model"), what
        with pytest.raises(EvidenceError, match="void"):
            verify(
                world.real.file, deed=world.real.deed, opening=world.real.opening(),
                trust=world.trust, nonce=NONCE, reference=path,
            )  # fmt: skip


def test_the_same_tensors_in_another_file_are_the_deed_s(world: World, tmp_path: Path) -> None:
    """The control: re-sharding and metadata do not orphan a deed."""
    path = tmp_path / "again.safetensors"
    save_file(load_file(world.real.file), path, metadata={"note": "saved again"})
    assert tensor_root(path) == world.real.deed.statement.tensor_root
    assert world.real.deed.check(model=path).model == "its tensors"


def test_a_header_with_a_name_twice_has_no_digest(world: World, tmp_path: Path) -> None:
    """Two readers could take two different tensors of one name."""
    entry = '"w":{"dtype":"F32","shape":[1],"data_offsets":[%d,%d]}'
    header = ("{" + entry % (0, 4) + "," + entry % (4, 8) + "}").encode()
    header += b" " * (-len(header) % 8)
    path = tmp_path / "twice.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(SuspectError):
        world.real.deed.check(model=path)


def test_a_deed_without_its_reference_is_void_with_an_unmarked_one(world: World) -> None:
    """Registered first, marked never: the reference does not carry the mark."""
    from tests.deed.forgeries.world import host

    path = world.folder / "unmarked.safetensors"
    save_file(host(9).state_dict(), path)
    deed = Deed.create(path, owner=world.real.owner, marks=[world.real.passport])
    opening = deed.open(world.real.owner, world.real.suspect, NONCE, marks=[world.real.passport])
    assert isinstance(opening.marks[0], SeedOpening)
    with pytest.raises(EvidenceError, match="void: the deed's own reference does not carry"):
        verify(
            world.real.file, deed=deed, opening=opening, trust=world.trust, nonce=NONCE,
            reference=path,
        )  # fmt: skip
