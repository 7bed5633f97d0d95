"""Digests of models: the same as the plain functions give, whatever files they lie in."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from modeldeed.deed.checking import model_word
from modeldeed.deed.hashing import digest_model, model_files
from modeldeed.digests import DTYPE_NAMES, tensor_root
from modeldeed.errors import EvidenceError, SuspectError
from tests.deed.conftest import Marked

TENSORS = {
    f"{number}.weight": torch.arange(12).reshape(3, 4).to(dtype)
    for number, dtype in enumerate(DTYPE_NAMES)
    if dtype is not torch.complex64
} | {"scalar": torch.tensor(3.5), "empty": torch.zeros(0, 7), "ä": torch.ones(2)}


def sharded(folder: Path, tensors: dict[str, torch.Tensor], files: int = 3) -> Path:
    folder.mkdir()
    weight_map = {name: f"part-{n % files}.safetensors" for n, name in enumerate(tensors)}
    for file in set(weight_map.values()):
        save_file({n: t for n, t in tensors.items() if weight_map[n] == file}, folder / file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def test_digests_are_those_of_the_plain_functions(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file(TENSORS, file, {"note": "metadata are no tensor"})
    found = digest_model(file)
    assert found.tensor_root == tensor_root(TENSORS).hex()
    assert list(found.files) == ["model.safetensors"]
    digests = found.files["model.safetensors"]
    assert digests.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    blake3 = pytest.importorskip("blake3")
    assert digests.blake3 == blake3.blake3(file.read_bytes()).hexdigest()
    other = digest_model(file, second="sha512").files["model.safetensors"]
    assert other.sha512 == hashlib.sha512(file.read_bytes()).hexdigest()
    assert other.blake3 is None


def test_without_the_optional_package_sha512_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(TENSORS, tmp_path / "model.safetensors")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    (digests,) = digest_model(tmp_path).files.values()
    assert digests.sha512 is not None


def test_shards_have_one_root_and_digests_of_their_own(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "shards", TENSORS)
    found = digest_model(folder)
    assert found.tensor_root == tensor_root(TENSORS).hex()
    assert found == digest_model(folder / "model.safetensors.index.json")
    assert set(found.files) == {path.name for path in folder.iterdir()}
    for name, digests in found.files.items():
        assert digests.sha256 == hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_the_file_digests_are_those_of_model_signing(tmp_path: Path) -> None:
    hashing = pytest.importorskip("model_signing.hashing")
    folder = sharded(tmp_path / "shards", TENSORS)
    manifest = hashing.hash(folder)
    theirs = {
        str(each.identifier): each.digest.digest_hex for each in manifest.resource_descriptors()
    }
    assert theirs == {name: d.sha256 for name, d in digest_model(folder).files.items()}


def test_a_dtype_without_a_name_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(4, dtype=torch.uint16)}, tmp_path / "model.safetensors")
    with pytest.raises(EvidenceError, match="U16"):
        digest_model(tmp_path)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.safetensors").write_bytes(b"")
    with pytest.raises(SuspectError):
        digest_model(tmp_path / "empty.safetensors")
    torch.save({"a": torch.zeros(2)}, tmp_path / "model.pt")
    with pytest.raises(SuspectError, match="pickle"):
        model_files(tmp_path / "model.pt")
    with pytest.raises(SuspectError):
        digest_model(tmp_path / "missing.safetensors")


def test_a_model_is_known_by_its_files_or_by_its_tensors(marked: Marked, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    state = load_file(marked.model)
    renamed = tmp_path / "reference.safetensors"
    renamed.write_bytes(marked.model.read_bytes())
    statement = marked.deed.statement
    assert model_word(statement, renamed) == "its files"
    assert model_word(statement, sharded(tmp_path / "shards", state)) == "its tensors"
    state["0.weight"] = state["0.weight"] * 2
    save_file(state, tmp_path / "other.safetensors")
    assert model_word(statement, tmp_path / "other.safetensors") == "another model"
