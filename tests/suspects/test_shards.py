"""Sharded checkpoints: read like one file, and refused where index and files disagree."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from modeldeed.digests import joined
from modeldeed.errors import SuspectError
from modeldeed.suspects import open_weights, shards

INDEX = "model.safetensors.index.json"
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def state() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    return {name: torch.randn(4, 3, generator=random) for name in ("a", "b", "c")}


def write_index(folder: Path, weight_map: Any, **more: Any) -> None:
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map, **more}), "utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "suspect"
    folder.mkdir()
    tensors = state()
    save_file({"a": tensors["a"], "b": tensors["b"]}, folder / FIRST)
    save_file({"c": tensors["c"]}, folder / SECOND)
    write_index(folder, {"a": FIRST, "b": FIRST, "c": SECOND}, metadata={"total_size": 144})
    return folder


@pytest.mark.parametrize("by", ["folder", "index"])
def test_a_sharded_checkpoint_reads_like_one_file(folder: Path, by: str) -> None:
    weights = open_weights(folder if by == "folder" else folder / INDEX)
    assert sorted(weights.names()) == ["a", "b", "c"]
    for name, expected in state().items():
        assert weights.shape(name) == (4, 3)
        assert torch.equal(weights.tensor(name), expected)
    assert weights.label == str(folder / INDEX)


def test_the_digest_covers_index_names_and_files(folder: Path) -> None:
    files = [(folder / name).read_bytes() for name in (INDEX, FIRST, SECOND)]
    index, first, second = (hashlib.sha256(data).digest() for data in files)
    parts = [b"modeldeed/v1/sharded", index, FIRST.encode(), first, SECOND.encode(), second]
    expected = hashlib.sha256(joined(*parts)).hexdigest()
    assert open_weights(folder).digest() == expected


def test_a_folder_with_one_file_is_that_file(tmp_path: Path) -> None:
    save_file(state(), tmp_path / "model.safetensors")
    weights = open_weights(tmp_path)
    data = (tmp_path / "model.safetensors").read_bytes()
    assert weights.digest() == hashlib.sha256(data).hexdigest()
    (tmp_path / INDEX).write_text("{}")
    with pytest.raises(SuspectError, match="holds both"):
        open_weights(tmp_path)


ESCAPES = ["../other.safetensors", "/etc/passwd", "sub/x.safetensors", "..", ".", "", "a\\b", "c:d"]


@pytest.mark.parametrize("name", [*ESCAPES, "x\n.safetensors", "x\0.safetensors"])
def test_an_index_names_plain_files_of_its_folder_only(folder: Path, name: str) -> None:
    save_file({"c": torch.ones(1)}, folder.parent / "other.safetensors")
    write_index(folder, {"a": FIRST, "b": FIRST, "c": name})
    with pytest.raises(SuspectError, match="no plain file name"):
        open_weights(folder)


def test_a_link_out_of_the_folder_is_not_followed(folder: Path) -> None:
    (folder / SECOND).rename(folder.parent / "elsewhere.safetensors")
    os.symlink(folder.parent / "elsewhere.safetensors", folder / SECOND)
    with pytest.raises(SuspectError, match=r"link out of the folder.*cp -rL"):
        open_weights(folder)


def test_a_link_that_leads_to_itself_is_refused(folder: Path) -> None:
    (folder / SECOND).unlink()
    os.symlink(folder / SECOND, folder / SECOND)
    with pytest.raises(SuspectError):
        open_weights(folder)


MAPS: dict[str, tuple[Callable[[], Any], str]] = {
    "a missing file": (
        lambda: {"a": FIRST, "b": FIRST, "c": "gone.safetensors"},
        "gone.safetensors is missing",
    ),
    "a tensor that the index does not list": (
        lambda: {"a": FIRST, "c": SECOND},
        "holds b, which the index does not list",
    ),
    "a tensor that lies elsewhere": (
        lambda: {"a": FIRST, "b": SECOND, "c": SECOND},
        f"holds b, which the index says is in {SECOND}",
    ),
    "a tensor that is nowhere": (
        lambda: {"a": FIRST, "b": FIRST, "c": SECOND, "d": SECOND},
        "lacks d, which the index says it has",
    ),
    "no tensors": (dict, "no weight_map"),
    "a list": (lambda: [FIRST], "no weight_map"),
    "a number for a file": (lambda: {"a": 1}, "is 1, not a name"),
}


@pytest.mark.parametrize("case", MAPS)
def test_index_and_files_have_to_agree(folder: Path, case: str) -> None:
    weight_map, message = MAPS[case]
    write_index(folder, weight_map())
    with pytest.raises(SuspectError, match=message):
        open_weights(folder)


def test_one_tensor_in_two_files_is_refused(folder: Path) -> None:
    tensors = state()
    save_file({"c": tensors["c"], "a": -tensors["a"]}, folder / SECOND)
    with pytest.raises(SuspectError, match=f"holds a, which the index says is in {FIRST}"):
        open_weights(folder)


@pytest.mark.parametrize(
    "text",
    [
        "", "no JSON", "[]", "null", "[" * 100_000, '{"weight_map": null}', "\ud800",
        '{"weight_map": {"a": "x", "a": "y"}}', '{"weight_map": {}, "weight_map": {}}',
    ],
    ids=["empty", "text", "list", "null", "deep", "no map", "surrogate", "tensor twice",
         "map twice"],
)  # fmt: skip
def test_a_malformed_index_is_refused(folder: Path, text: str) -> None:
    (folder / INDEX).write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(SuspectError, match=r"no readable index|no weight_map"):
        open_weights(folder)


def test_an_index_has_a_largest_size(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "_MOST_INDEX_BYTES", 100)
    with pytest.raises(SuspectError, match="too large an index"):
        open_weights(folder)
    monkeypatch.undo()
    monkeypatch.setattr(shards, "_MOST_SHARDS", 1)
    with pytest.raises(SuspectError, match="names 2 files"):
        open_weights(folder)


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"PK\x03\x04", bytes(64)])
def test_a_shard_is_checked_like_any_file(folder: Path, content: bytes) -> None:
    (folder / SECOND).write_bytes(content)
    with pytest.raises(SuspectError, match=SECOND):
        open_weights(folder)


def test_a_folder_in_place_of_a_shard_or_index_is_refused(folder: Path) -> None:
    (folder / SECOND).unlink()
    (folder / SECOND).mkdir()
    with pytest.raises(SuspectError, match="no regular file"):
        open_weights(folder)


@pytest.mark.parametrize("name", [INDEX, FIRST])
def test_files_that_change_meanwhile_are_noticed(folder: Path, name: str) -> None:
    weights = open_weights(folder)
    weights.require_unchanged()
    data = (folder / name).read_bytes()
    (folder / name).unlink()
    (folder / name).write_bytes(data + b" ")
    for check in (weights.require_unchanged, weights.digest):
        with pytest.raises(SuspectError, match="changed while it was examined"):
            check()
