"""Claims that do not hold: each is void for its own reason, and harms nobody else's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import save_file

from modeldeed.deed import Opening
from modeldeed.errors import OptionError
from modeldeed.resolving import Resolution, resolve
from modeldeed.resolving.results import StepStatus
from modeldeed.resolving.words import Void
from modeldeed.results import Verdict
from tests.resolving.conftest import World
from tests.resolving.world import NONCE, days, issued, owner, party, planted, saved

Damage = Callable[[World, Path], None]


def flip(path: Path, place: int = -3) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))


def edit_opening(claim: Path, **changes: object) -> None:
    path = claim / "opening.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def signed_opening(claim: Path, world: World, **changes: object) -> None:
    path = claim / "opening.json"
    changed = Opening.from_json(path.read_bytes()).model_copy(update=changes)
    path.write_bytes(changed.signed(world.other.owner).to_json())


def other_reference(world: World, claim: Path) -> None:
    save_file(world.acme.state, claim / "reference.safetensors")


def other_deed(world: World, claim: Path) -> None:
    shutil.rmtree(claim / "timestamps")
    (claim / "deed.json").write_bytes(world.acme.deed.envelope.to_bytes())


def token_of_another_deed(world: World, claim: Path) -> None:
    token = world.authorities[0].token_at(world.acme.deed.imprint, days(-100))
    (claim / "timestamps" / "1.tsr").write_bytes(token)


def broken_token(world: World, claim: Path) -> None:
    flip(claim / "timestamps" / "1.tsr")


def outside(world: World, claim: Path) -> None:
    (claim / "reference.safetensors").unlink()
    (claim / "reference.safetensors").symlink_to("/etc/hostname")


FORGERIES: dict[str, tuple[Damage, int, Void, str]] = {
    "no deed": (lambda w, c: (c / "deed.json").unlink(), 2, Void.ALTERED, "deed.json is missing"),
    "large deed": (
        lambda w, c: (c / "deed.json").write_bytes(b" " * (9 * 2**20)),
        2, Void.ALTERED, "over the limit",
    ),
    "altered deed": (lambda w, c: flip(c / "deed.json", 40), 3, Void.ALTERED, ""),
    "deep deed": (
        lambda w, c: (c / "deed.json").write_bytes(b"[" * 10**6),
        3, Void.ALTERED, "",
    ),
    "timestamp of another": (token_of_another_deed, 4, Void.FORGED, "a timestamp of the deed"),
    "broken timestamp": (broken_token, 4, Void.FORGED, "a timestamp of the deed"),
    "no opening": (lambda w, c: (c / "opening.json").unlink(), 5, Void.ALTERED, "is missing"),
    "altered opening": (
        lambda w, c: edit_opening(c, nonce="00" * 32), 5, Void.FORGED, "was altered",
    ),
    "other dispute": (
        lambda w, c: signed_opening(c, w, nonce="00" * 32), 5, Void.FORGED, "another dispute",
    ),
    "other suspect": (
        lambda w, c: signed_opening(c, w, suspect="00" * 32), 5, Void.FORGED, "for the suspect",
    ),
    "opening of another deed": (
        lambda w, c: signed_opening(c, w, deed="00" * 32), 5, Void.FORGED, "another deed",
    ),
    "somebody else's deed": (other_deed, 5, Void.FORGED, "another deed"),
    "no reference": (
        lambda w, c: (c / "reference.safetensors").unlink(), 7, Void.ALTERED, "is not shown",
    ),
    "swapped reference": (other_reference, 7, Void.ALTERED, "another model"),
    "reference elsewhere": (outside, 7, Void.ALTERED, "leads out"),
    "pickled reference": (
        lambda w, c: (c / "reference.safetensors").write_bytes(b"\x80\x04" + bytes(100)),
        7, Void.ALTERED, "",
    ),
}  # fmt: skip


def resolved(world: World, folder: Path, damage: Damage) -> Resolution:
    """Acme's honest claim, and another's that was tampered with."""
    suspect = saved(world.acme.state, folder / "suspect.safetensors")
    good = world.acme.hand_in(folder / "claims", suspect)
    bad = world.other.hand_in(folder / "claims", suspect)
    damage(world, bad)
    return resolve([bad, good], suspect, trust=world.trust, nonce=NONCE)


@pytest.mark.parametrize("case", FORGERIES)
def test_a_forgery_is_void_and_harms_nobody(world: World, tmp_path: Path, case: str) -> None:
    damage, step, void, reason = FORGERIES[case]
    found = resolved(world, tmp_path, damage)
    claim = found.claim("other")
    assert (claim.verdict, claim.void) == (Verdict.EVIDENCE_INVALID, void), claim.reason
    assert reason in claim.reason
    assert found.claim("acme").verdict is Verdict.VERIFIED
    assert [r.words for r in found.relations] == [f"void ({void.value})", "only acme"]
    assert found.outcome is Verdict.VERIFIED
    failed = [s for s in found.steps if s.status is StepStatus.FAILED]
    assert [(s.number, s.claim, s.note) for s in failed] == [(step, "other", claim.reason)]
    assert str(tmp_path) not in claim.reason


def test_a_reference_without_the_mark_is_void(world: World, tmp_path: Path) -> None:
    """Somebody registers a model that never carried his bits."""
    manifest = issued(world.bare, owner(6))
    made = party(tmp_path, "bare", owner(6), world.bare, manifest)
    suspect = saved(world.bare, tmp_path / "suspect.safetensors")
    claim = made.hand_in(tmp_path / "claims", suspect)
    found = resolve([claim], suspect, trust=world.trust, nonce=NONCE)
    assert found.outcome is Verdict.EVIDENCE_INVALID
    assert found.claim("bare").void is Void.FORGED
    assert "own reference does not carry" in found.claim("bare").reason
    (step,) = [s for s in found.steps if s.status is StepStatus.FAILED]
    assert step.number == 8


def test_an_opening_replayed_for_somebody_elses_deed_is_void(world: World, tmp_path: Path) -> None:
    """The seed of another owner under one's own deed: commitments are bound to identities."""
    suspect = saved(world.acme.state, tmp_path / "suspect.safetensors")
    good = world.acme.hand_in(tmp_path / "claims", suspect)
    bad = world.other.hand_in(tmp_path / "claims", suspect)
    shown = Opening.from_json((good / "opening.json").read_bytes())
    signed_opening(bad, world, marks=shown.marks)
    found = resolve([good, bad], suspect, trust=world.trust, nonce=NONCE)
    assert found.claim("other").void is Void.FORGED
    assert found.claim("acme").verdict is Verdict.VERIFIED


def test_a_copied_claim_is_told_from_no_other(world: World, tmp_path: Path) -> None:
    suspect = saved(world.acme.state, tmp_path / "suspect.safetensors")
    good = world.acme.hand_in(tmp_path / "claims", suspect)
    again = world.acme.hand_in(tmp_path / "claims", suspect, name="again")
    with pytest.raises(OptionError, match="hand in the same deed"):
        resolve([good, again], suspect, trust=world.trust, nonce=NONCE)
    with pytest.raises(OptionError, match="given twice"):
        resolve([good, good], suspect, trust=world.trust, nonce=NONCE)


def test_few_bits_never_verify_alone(world: World, tmp_path: Path) -> None:
    from modeldeed import Passport
    from tests.resolving.world import host

    model = host(11)
    import torch

    manifest = Passport.issue(
        model, owner(8), example=torch.zeros(2, 3, 10, 10), targets=["1"]
    ).manifest.signed(owner(8))
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    made = party(tmp_path, "few", owner(8), planted(state, manifest, owner(8)), manifest)
    suspect = saved(made.state, tmp_path / "suspect.safetensors")
    found = resolve([made.hand_in(tmp_path / "c", suspect)], suspect, nonce=NONCE)
    assert found.outcome is Verdict.INCONCLUSIVE
    assert "fewer than 128 bits never verify alone" in found.claim("few").reason


def test_unknown_files_are_named_and_not_opened(world: World, tmp_path: Path) -> None:
    suspect = saved(world.acme.state, tmp_path / "suspect.safetensors")
    claim = world.acme.hand_in(tmp_path / "claims", suspect)
    (claim / "evil\x1b[31m.bin").write_bytes(b"x")
    (claim / "large").mkdir()
    found = resolve([claim], suspect, trust=world.trust, nonce=NONCE)
    assert found.outcome is Verdict.VERIFIED
    assert found.claim("acme").warnings == (
        "files that no rule asks for were not opened: evil?[31m.bin, large",
    )


@pytest.mark.parametrize("nonce", ["", "xyz", "00" * 15, "00" * 65])
def test_a_malformed_nonce_is_refused(world: World, tmp_path: Path, nonce: str) -> None:
    with pytest.raises(OptionError, match="32 … 128 hexadecimal digits"):
        resolve([tmp_path], world.acme.state, nonce=nonce)


def test_no_claims_and_no_folders_are_refused(world: World, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no claim"):
        resolve([], world.acme.state, nonce=NONCE)
    with pytest.raises(OptionError, match="is no folder"):
        resolve([tmp_path / "nowhere"], world.acme.state, nonce=NONCE)
