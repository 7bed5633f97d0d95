"""Opening: everything that can answer, and what to do about what cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modeldeed.errors import MissingExtraError, OptionError, SuspectError
from modeldeed.suspects.answering import (
    Endpoint,
    Preparation,
    is_answering_path,
    open_suspect,
)
from modeldeed.suspects.answering.http_suspect import HttpSuspect
from tests.suspects.answering.conftest import KSERVE
from tests.suspects.answering.models import images, tiny_model

URL = "http://127.0.0.1:9/"


@pytest.mark.parametrize("name", ["m.onnx", "M.ONNX", "e.yaml", "e.yml", "e.json", "a/b.onnx"])
def test_paths_that_can_be_asked(name: str) -> None:
    assert is_answering_path(name)
    assert is_answering_path(Path(name))


@pytest.mark.parametrize(
    "name", ["m.safetensors", "model.safetensors.index.json", "m.pt2", "m.pt", "folder", "onnx"]
)
def test_paths_that_cannot(name: str) -> None:
    assert not is_answering_path(name)


def test_a_suspect_stays_itself() -> None:
    suspect = open_suspect(tiny_model())
    assert open_suspect(suspect) is suspect
    with pytest.raises(OptionError, match="open already"):
        open_suspect(suspect, prepare=Preparation())


def test_an_endpoint_and_its_file_are_the_same(tmp_path: Path) -> None:
    endpoint = Endpoint.from_fields({"url": URL, **KSERVE})
    for name in ("e.json", "e.yaml"):  # JSON is YAML
        (tmp_path / name).write_text(endpoint.model_dump_json())
        with open_suspect(tmp_path / name) as one, open_suspect(endpoint) as other:
            assert isinstance(one, HttpSuspect)
            assert one.identity() == other.identity()
            assert one.label == URL
    with pytest.raises(OptionError, match="stands in its configuration"):
        open_suspect(endpoint, prepare=Preparation())


@pytest.mark.parametrize(
    ("name", "text"),
    [("m.safetensors", "weights alone, which cannot answer.*model="),
     ("model.safetensors.index.json", "weights alone"), ("m.pt2", "torch.export.load unpickles"),
     ("m.pt", "pickle"), ("m.pth", "pickle"), ("m.txt", "cannot be asked"), ("folder", "cannot")],
)  # fmt: skip
def test_paths_that_cannot_be_asked_say_what_can(name: str, text: str) -> None:
    with pytest.raises(SuspectError, match=text):
        open_suspect(name)


@pytest.mark.parametrize("thing", [None, 3, {"w": 1}, [1], b"m.onnx", dict])
def test_other_things_are_no_suspects(thing: Any) -> None:
    with pytest.raises(OptionError, match="a suspect is a function"):
        open_suspect(thing)


@pytest.mark.parametrize(
    ("missing", "extra", "name"),
    [("onnxruntime", "onnx", "m.onnx"), ("httpx", "http", "e.json"), ("yaml", "http", "e.yaml")],
)
def test_a_missing_extra_is_named(
    missing: str, extra: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    path.write_text(Endpoint.from_fields({"url": URL, **KSERVE}).model_dump_json())
    if name == "m.onnx":
        path.write_bytes(b"\x08\x08")
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=rf"modeldeed\[{extra}\]"):
        open_suspect(path)


def test_importing_loads_no_optional_package() -> None:
    script = (
        "import sys, modeldeed.suspects.answering\n"
        "print([n for n in ('httpx', 'yaml', 'onnxruntime', 'onnx', 'PIL') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_a_repr_shows_the_label() -> None:
    suspect = open_suspect(tiny_model())
    suspect.labels(images(1))
    assert repr(suspect) == "<ModuleSuspect module Sequential>"
