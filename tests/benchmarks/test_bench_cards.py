import json
import re
from datetime import datetime, timezone
from pathlib import Path

import jsonschema
import pytest
import torch
from pydantic import ValidationError

from benchmarks import environment
from benchmarks.cards import Card, read_card, read_cards, write_card
from modeldeed.errors import DataError


def _card(**changes) -> Card:
    fields = {
        "experiment": "fidelity",
        "setting": "quick",
        "metrics": {"cells": [{"accuracy": 0.5}]},
        "configuration": {"host": {"epochs": 3}},
        "seeds": (0, 1),
        "hardware": environment.hardware(torch.device("cpu")),
        "versions": environment.versions(),
        "commit": environment.commit(),
        "date": datetime(2026, 1, 2, tzinfo=timezone.utc),
        "seconds": 1.5,
        "notes": ("one host was skipped",),
    }
    return Card(**(fields | changes))


def test_a_card_reads_back_as_it_was_written(tmp_path: Path) -> None:
    card = _card()
    path = write_card(card, tmp_path / "results")
    assert path.name == "fidelity-quick.json"
    assert read_card(path) == card
    assert read_cards(path.parent) == [card]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_card_follows_its_published_schema() -> None:
    written = json.loads(_card().model_dump_json())
    jsonschema.validate(written, Card.model_json_schema())
    del written["commit"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(written, Card.model_json_schema())


def test_a_card_is_frozen_strict_and_finite() -> None:
    card = _card()
    with pytest.raises(ValidationError):
        card.setting = "full"
    with pytest.raises(ValidationError):
        _card(host="a machine")
    with pytest.raises(ValidationError):
        _card(seconds=float("nan"))


def test_a_card_says_nothing_of_the_machines_name_or_folders(root: Path) -> None:
    text = _card().model_dump_json()
    assert str(root) not in text
    assert str(Path.home()) not in text
    assert set(_card().hardware.model_dump()) == {"cpu", "cores", "threads", "memory_bytes", "gpu"}
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", _card().commit)


def test_without_git_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment.commit() == "unknown"


@pytest.mark.parametrize("content", [b"", b"{}", b"[1", b"\xff\xfe"])
def test_what_is_no_card_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "fidelity-quick.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match="no readable card"):
        read_cards(tmp_path)
