"""Suspects' weights: read without being executed, refused with a reason."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from modeldeed.digests import tensor_root
from modeldeed.errors import SuspectError
from modeldeed.suspects import open_weights
from modeldeed.suspects.weights import require_tensors


def state() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    return {
        "encoder.conv1.weight": torch.randn(4, 3, 3, 3, generator=random),
        "encoder.norm1.weight": torch.randn(4, generator=random).to(torch.bfloat16),
        "encoder.norm1.num_batches_tracked": torch.tensor(7),
        "empty": torch.empty(0, 2),
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "suspect.safetensors"
    save_file(state(), path)
    return path


@pytest.mark.parametrize("source", ["path", "text", "mapping"])
def test_all_sources_give_the_same_tensors(file: Path, source: str) -> None:
    weights = open_weights({"path": file, "text": str(file), "mapping": state()}[source])
    assert sorted(weights.names()) == sorted(state())
    for name, expected in state().items():
        assert weights.shape(name) == tuple(expected.shape)
        found = weights.tensor(name)
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)


def test_a_module_is_read_as_its_state() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    weights = open_weights(module)
    assert weights.names() == list(module.state_dict())
    found = weights.tensor("0.weight")
    assert torch.equal(found, module[0].weight)
    assert not found.requires_grad
    assert weights.digest() == open_weights(module.state_dict()).digest()


def test_digests_are_of_the_file_or_of_the_tensors(file: Path) -> None:
    assert open_weights(file).digest() == hashlib.sha256(file.read_bytes()).hexdigest()
    assert open_weights(state()).digest() == tensor_root(state()).hex()
    assert open_weights(file).label == str(file)
    assert open_weights(state()).label == "tensors in memory"


def test_what_is_no_tensor_in_a_state_is_passed_over() -> None:
    mixed: dict[str, Any] = {**state(), "_metadata": {"version": 2}}
    assert open_weights(mixed).names() == list(state())


# --- what is not opened ---


class Payload:
    """A pickle that creates a file when it is opened."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.target),)


def write_pickle(kind: str, path: Path, payload: Any) -> None:
    if kind == "zip":
        torch.save(payload, path)
    elif kind == "legacy":
        torch.save(payload, path, _use_new_zipfile_serialization=False)
    else:
        path.write_bytes(pickle.dumps(payload, protocol=int(kind)))


KINDS = ["zip", "legacy", "0", "2", "4"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["suspect.pt", "suspect.safetensors"])
def test_pickles_are_refused_unopened(tmp_path: Path, kind: str, name: str) -> None:
    path, target = tmp_path / name, tmp_path / "was-run"
    write_pickle(kind, path, Payload(target))
    with pytest.raises(SuspectError, match=r"safetensors\.torch\.save_file") as caught:
        open_weights(path)
    assert not target.exists()
    if kind != "0":  # text pickles have no mark of their own; they are no safetensors either
        assert "is a pickle" in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_these_pickles_would_have_run(tmp_path: Path, kind: str) -> None:
    """The proof that the payload works, so that its absence above means something."""
    path, target = tmp_path / "suspect.pt", tmp_path / "was-run"
    write_pickle(kind, path, Payload(target))
    if kind in ("zip", "legacy"):
        torch.load(path, weights_only=False)
    else:
        pickle.loads(path.read_bytes())
    assert target.is_dir()


def test_truncated_files_are_refused(file: Path) -> None:
    whole = file.read_bytes()
    for length in [*range(0, 12), *range(12, len(whole), 29), len(whole) - 1]:
        file.write_bytes(whole[:length])
        with pytest.raises(SuspectError, match="not a readable safetensors file"):
            open_weights(file)


@pytest.mark.parametrize(
    "content",
    [
        b"hello world, hello world",
        b"\xff" * 64,
        bytes(64),
        (2**62).to_bytes(8, "little") + b"{}",
        (10**8 + 1).to_bytes(8, "little") + b"{",
        (2).to_bytes(8, "little") + b"[]",
        (60).to_bytes(8, "little")
        + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,4]}}'.ljust(60)
        + bytes(4),
        (60).to_bytes(8, "little") + b"[" * 60,
    ],
    ids=["text", "ones", "zeros", "huge header", "large header", "list", "shape", "nested"],
)
def test_garbage_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "suspect.safetensors"
    path.write_bytes(content)
    with pytest.raises(SuspectError, match="not a readable safetensors file"):
        open_weights(path)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SuspectError, match="nowhere cannot be read: No such file"):
        open_weights(tmp_path / "nowhere")
    with pytest.raises(SuspectError, match="is no regular file"):
        open_weights(tmp_path)


@pytest.mark.parametrize("padding", range(0, 256, 8))
def test_no_header_length_is_taken_for_a_pickle(tmp_path: Path, padding: int) -> None:
    """A header of 128, 640, … bytes starts with the byte that also starts a pickle."""
    path = tmp_path / "model.safetensors"
    save_file({"w": torch.ones(2)}, path, metadata={"note": "x" * padding})
    assert open_weights(path).names() == ["w"]


# --- what a claim needs ---


def test_fitting_tensors_are_accepted(file: Path) -> None:
    for weights in (open_weights(file), open_weights(state())):
        require_tensors(weights, [(n, tuple(t.shape)) for n, t in state().items()])


def test_missing_tensors_are_counted_and_similar_names_told() -> None:
    weights = open_weights({f"model.{name}": tensor for name, tensor in state().items()})
    names = ["encoder.conv1.weight", "encoder.norm1.weight", "model.empty"]
    wanted = [(name, (1,)) for name in names]
    with pytest.raises(SuspectError) as caught:
        require_tensors(weights, wanted)
    text = str(caught.value)
    assert "lacks 2 of 3 tensors" in text
    assert "for example encoder.conv1.weight" in text
    assert "similar names: model.encoder.conv1.weight" in text
    assert "rename them back" in text


def test_no_similar_name_is_invented() -> None:
    with pytest.raises(SuspectError) as caught:
        require_tensors(open_weights({"zzz": torch.zeros(1)}), [("encoder.conv1.weight", (1,))])
    assert "similar" not in str(caught.value)


@pytest.mark.parametrize("shape", [(4, 3, 3), (3, 4, 3, 3), (4, 27), (8, 3, 3, 3), ()])
def test_another_shape_is_told(file: Path, shape: tuple[int, ...]) -> None:
    for weights in (open_weights(file), open_weights(state())):
        with pytest.raises(SuspectError) as caught:
            require_tensors(weights, [("encoder.conv1.weight", shape)])
        text = str(caught.value)
        assert f"has shape (4, 3, 3, 3), the claim expects {shape}" in text
        assert "architecture differs" in text
