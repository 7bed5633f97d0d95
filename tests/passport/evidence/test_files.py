"""A passport on disk: whole or refused, replaced in one step."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from modeldeed import Owner, Passport
from modeldeed.errors import EvidenceError, HostError, OptionError
from modeldeed.manifest import MAX_BYTES
from modeldeed.passport.evidence import files


def host() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())


def batch() -> Tensor:
    return torch.rand(4, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def issued(owner: Owner, label: str = "model") -> Passport:
    return Passport.issue(host(), owner, example=batch(), label=label, head="learned")


@pytest.fixture
def passport(owner: Owner) -> Passport:
    return issued(owner)


@pytest.fixture
def folder(passport: Passport, tmp_path: Path) -> Path:
    passport.save(tmp_path / "deep" / "passport")
    return tmp_path / "deep" / "passport"


def state_file(folder: Path) -> Path:
    (path,) = folder.glob("state-*.safetensors")
    return path


def train(passport: Passport, steps: int = 3) -> None:
    targets = torch.zeros(4, dtype=torch.long)
    for _ in range(steps):
        passport.joint_loss(batch(), targets).backward()
        with torch.no_grad():
            for parameter in passport.parameters():
                parameter.sub_(0.01 * (parameter.grad if parameter.grad is not None else 0))


def private_state(passport: Passport) -> dict[str, Tensor]:
    state = files.state_of(passport.branch, passport.steps, passport.training)
    return {name: tensor.clone() for name, tensor in state.items()}


def test_a_trained_passport_comes_back(passport: Passport, owner: Owner, tmp_path: Path) -> None:
    fresh = private_state(passport)
    train(passport)
    trained = private_state(passport)
    assert any(not torch.equal(trained[n], fresh[n]) for n in trained if n.startswith("head."))
    assert int(trained["steps"]) == 3
    passport.save(tmp_path)
    again = Passport.load(str(tmp_path), owner, passport.host)
    loaded = private_state(again)
    assert loaded.keys() == trained.keys()
    for name, tensor in trained.items():
        assert torch.equal(loaded[name], tensor), name
    again.host.eval()
    assert torch.equal(again.private(batch()), passport.private(batch()))


def test_a_passport_is_a_manifest_and_one_state_file(folder: Path) -> None:
    state = state_file(folder)
    assert sorted(os.listdir(folder)) == ["passport.json", state.name]
    digest = hashlib.sha256(state.read_bytes()).hexdigest()
    assert json.loads((folder / "passport.json").read_bytes())["state"] == digest
    assert state.name == f"state-{digest[:16]}.safetensors"


def test_no_secret_is_in_the_files(folder: Path, owner: Owner, passport: Passport) -> None:
    everything = b"".join(path.read_bytes() for path in folder.iterdir())
    bits = passport.branch.signed_bits().to(torch.int8).numpy().tobytes()
    for secret in (bytes(range(32)), owner.seed("model"), passport.manifest.model_key(owner), bits):
        assert secret not in everything
        assert secret.hex().encode() not in everything


def test_every_flipped_byte_of_the_state_is_noticed(folder: Path) -> None:
    path = state_file(folder)
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[position] ^= 1 << (position % 8)
        path.write_bytes(changed)
        with pytest.raises(EvidenceError, match="digest is not the one in the manifest"):
            files.load(folder)
    for other in (whole[:-1], whole + b"\x00", b""):
        path.write_bytes(other)
        with pytest.raises(EvidenceError, match="digest is not the one in the manifest"):
            files.load(folder)
    path.write_bytes(whole)
    assert files.load(folder)[0].label == "model"


def test_a_flipped_byte_of_the_manifest_is_noticed(folder: Path, owner: Owner) -> None:
    path = folder / "passport.json"
    whole = path.read_bytes()
    for position in range(0, len(whole), 5):
        changed = bytearray(whole)
        changed[position] ^= 1
        path.write_bytes(changed)
        with pytest.raises(EvidenceError):
            Passport.load(folder, owner, host())


def test_a_missing_file_is_named(folder: Path, tmp_path: Path) -> None:
    state_file(folder).unlink()
    with pytest.raises(EvidenceError, match=r"state-\w{16}\.safetensors cannot be read: No such"):
        files.load(folder)
    (folder / "passport.json").unlink()
    for missing in (folder, tmp_path / "nowhere"):
        with pytest.raises(OptionError, match=r"is no passport's folder: it has no passport\.json"):
            files.load(missing)


def test_the_state_of_another_passport_does_not_fit(
    folder: Path, owner: Owner, tmp_path: Path
) -> None:
    other = issued(owner, "other")
    train(other)
    other.save(tmp_path / "other")
    mine, theirs = state_file(folder), state_file(tmp_path / "other")
    shutil.copy(theirs, mine)
    with pytest.raises(EvidenceError, match="altered"):
        files.load(folder)
    mine.unlink()
    shutil.copy(theirs, folder / theirs.name)
    with pytest.raises(EvidenceError, match="cannot be read"):
        files.load(folder)


def test_saving_again_replaces_and_removes_what_is_stale(
    folder: Path, passport: Passport, owner: Owner
) -> None:
    first = state_file(folder)
    kept = folder / "notes.txt"
    kept.write_text("mine")
    train(passport)
    passport.save(folder)
    second = state_file(folder)
    assert second != first
    assert not first.exists()
    assert kept.read_text() == "mine"
    assert Passport.load(folder, owner, host()).steps == 3


@pytest.mark.parametrize("crash_at", [1, 2])
def test_a_crash_while_saving_leaves_the_old_passport(
    folder: Path, passport: Passport, monkeypatch: pytest.MonkeyPatch, crash_at: int
) -> None:
    train(passport)
    write, calls = files.write_atomically, []

    def crashing(path: Path, data: bytes) -> None:
        calls.append(path.name)
        if len(calls) == crash_at:
            raise OSError("power cut")
        write(path, data)

    monkeypatch.setattr(files, "write_atomically", crashing)
    with pytest.raises(OSError, match="power cut"):
        passport.save(folder)
    assert calls[-1] == ("passport.json" if crash_at == 2 else calls[0])
    manifest, state = files.load(folder)
    assert manifest.state is not None
    assert int(state["steps"]) == 0


def test_giant_manifests_are_refused_unread(folder: Path) -> None:
    path = folder / "passport.json"
    with path.open("r+b") as file:
        file.truncate(MAX_BYTES + 1)  # sparse
    with pytest.raises(EvidenceError, match=f"over the limit of {MAX_BYTES}"):
        files.load(folder)


def test_a_giant_state_is_refused_unread(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_MAX_STATE_BYTES", 100)
    with pytest.raises(EvidenceError, match="over the limit of 100"):
        files.load(folder)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs a device without an end")
@pytest.mark.parametrize("name", ["passport.json", "state"])
def test_links_to_endless_devices_are_refused(folder: Path, name: str) -> None:
    path = state_file(folder) if name == "state" else folder / name
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(EvidenceError, match="no regular file"):
        files.load(folder)


def test_a_manifest_without_state_is_refused(
    folder: Path, passport: Passport, owner: Owner
) -> None:
    signed = passport.manifest.signed_by(owner, state=None)
    (folder / "passport.json").write_bytes(signed.to_json())
    assert files.load_manifest(folder) == signed
    with pytest.raises(EvidenceError, match="names no state file"):
        files.load(folder)


def test_signed_garbage_is_refused(folder: Path, passport: Passport, owner: Owner) -> None:
    garbage = b"no safetensors at all"
    digest = hashlib.sha256(garbage).hexdigest()
    (folder / f"state-{digest[:16]}.safetensors").write_bytes(garbage)
    signed = passport.manifest.signed_by(owner, state=digest)
    (folder / "passport.json").write_bytes(signed.to_json())
    with pytest.raises(EvidenceError, match="is no readable safetensors file"):
        files.load(folder)


def test_another_owner_cannot_load(folder: Path, stranger: Owner) -> None:
    with pytest.raises(EvidenceError, match="belongs to identity"):
        Passport.load(folder, stranger, host())


@pytest.mark.parametrize("change", ["drop", "reshape"])
def test_a_signed_state_that_does_not_fit_is_the_hosts_error(
    passport: Passport, owner: Owner, tmp_path: Path, change: str
) -> None:
    state = private_state(passport)
    name = next(n for n in state if n.startswith("head."))
    if change == "drop":
        del state[name]
    else:
        state[name] = torch.zeros(2, 3, 5)
    files.save(tmp_path, passport.manifest, owner, state)
    with pytest.raises(HostError, match="does not fit this model"):
        Passport.load(tmp_path, owner, host())
