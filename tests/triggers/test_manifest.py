"""Anchors and manifests of trigger sets."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from modeldeed import Passport, TriggerSet
from modeldeed.anchor import Anchor
from modeldeed.anchor.trigger_rule import AudioInput, ImageInput, PointInput, TokenInput
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.models import resnet_small
from modeldeed.triggers.forms import form_of, preparation_of
from modeldeed.triggers.manifest import TriggerManifest
from tests.querying.answerers import IMAGE, OWNER, STRANGER, trigger_set

HOST = torch.nn.Sequential(torch.nn.Conv2d(1, 16, 3), torch.nn.BatchNorm2d(16))


def test_the_anchor_commits_to_everything_that_makes_the_triggers() -> None:
    own = trigger_set()
    others = [
        trigger_set(11),
        trigger_set(batches=3),
        TriggerSet.issue(OWNER, example=torch.zeros(1, 1, 8, 9), classes=10),
        TriggerSet.issue(OWNER, example=IMAGE, classes=10, family="noise/v1"),
        TriggerSet.issue(OWNER, example=IMAGE, classes=10, label="other"),
        TriggerSet.issue(OWNER, example=IMAGE, classes=10, model=resnet_small(10, 1)),
        TriggerSet.issue(OWNER, example=IMAGE, classes=[f"class {n}" for n in range(10)]),
        trigger_set(owner=STRANGER),
    ]
    labels = [tuple(other.batch(0).labels.tolist()) for other in (own, *others)]
    assert len(set(labels)) == len(labels)
    digests = {other.manifest.anchor.digest for other in (own, *others)}
    assert len(digests) == len(labels)


def test_saved_and_loaded(tmp_path: Path) -> None:
    own = trigger_set()
    own.save(tmp_path)
    loaded = TriggerSet.load(tmp_path, OWNER)
    assert torch.equal(loaded.inputs, own.inputs)
    assert torch.equal(loaded.labels, own.labels)
    with pytest.raises(EvidenceError, match="belongs to identity"):
        TriggerSet.load(tmp_path, STRANGER)
    secret = own.labels.numpy().tobytes()
    data = (tmp_path / "triggers.json").read_bytes()
    assert secret not in data
    assert len(data) < 4_000


def test_one_changed_byte_is_refused(tmp_path: Path) -> None:
    trigger_set().save(tmp_path)
    path = tmp_path / "triggers.json"
    data = path.read_bytes()
    for place in range(0, len(data), 7):
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(bytes(changed))
        with pytest.raises(EvidenceError):
            TriggerSet.load(tmp_path, OWNER)


def test_marks_in_an_anchor_are_consistent() -> None:
    anchor = trigger_set().manifest.anchor
    fields = anchor.model_dump()
    for change, words in (
        ({"triggers": None}, "neither"),
        ({"planner": 1}, "there is none"),
        ({"excluded": ("norm",)}, "there is none"),
        ({"classes": ("a", "b")}, "2 names"),
    ):
        with pytest.raises(ValidationError, match=words):
            Anchor.model_validate({**fields, **change})
    with pytest.raises(EvidenceError, match="no passport"):
        _ = anchor.passport_rule
    passport = Passport.issue(HOST, OWNER, example=IMAGE).manifest.anchor
    with pytest.raises(ValidationError, match="no trigger set"):
        TriggerManifest(anchor=passport, label="x")
    both = Anchor.model_validate({**passport.model_dump(), "triggers": anchor.triggers})
    with pytest.raises(ValidationError, match="passport as well"):
        TriggerManifest(anchor=both, label="x")


@pytest.mark.parametrize(
    ("example", "vocabulary", "form"),
    [
        (torch.zeros(2, 3, 32, 16), None, ImageInput(channels=3, height=32, width=16)),
        (torch.zeros(2, 100, 3), None, PointInput(points=100)),
        (torch.zeros(2, 3, 100), None, PointInput(points=100)),
        (torch.zeros(2, 4000), None, AudioInput(samples=4000)),
        (torch.zeros(2, 1, 4000), None, AudioInput(samples=4000)),
        (torch.zeros(2, 12).long(), (5, 99), TokenInput(length=12, lowest=5, vocabulary=99)),
        (
            {"input_ids": torch.zeros(2, 12).long()},
            (5, 99),
            TokenInput(length=12, lowest=5, vocabulary=99),
        ),
    ],
)
def test_forms_follow_from_an_example(example: object, vocabulary: object, form: object) -> None:
    assert form_of(example, vocabulary) == form  # type: ignore[arg-type]
    triggers = TriggerSet.issue(OWNER, example=example, classes=10, vocabulary=vocabulary)  # type: ignore[arg-type]
    prepared = triggers.prepared(torch.arange(2))
    wanted = example["input_ids"] if isinstance(example, dict) else example
    made = prepared["input_ids"] if isinstance(prepared, dict) else prepared
    assert made.shape == wanted.shape  # type: ignore[attr-defined]
    assert made.dtype == wanted.dtype  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("example", "words"),
    [
        ("text", "got a str"),
        (torch.zeros(2), "no triggers are known"),
        (torch.zeros(2, 12).long(), "vocabulary"),
        (torch.zeros(2, 1, 2, 2), "height"),
        (torch.zeros(2, 3), "samples"),
        ({"pixels": torch.zeros(1)}, "input_ids"),
    ],
)
def test_unknown_forms_are_refused(example: object, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        form_of(example)


def test_triggers_do_not_repeat() -> None:
    """Two labels of one input could not both be learned, and a transcript asks it once."""
    few = torch.zeros(1, 4).long()
    with pytest.raises(OptionError, match=r"only \d+ of 336 triggers of uniform/v1 differ"):
        TriggerSet.issue(OWNER, example=few, classes=2, vocabulary=(0, 3))
    TriggerSet.issue(OWNER, example=few, classes=2, vocabulary=(0, 30_000))
    longer = TriggerSet.issue(OWNER, example=IMAGE, classes=2, count=400, batches=1)
    assert len(longer) == 400
    with pytest.raises(OptionError, match="count must be"):
        TriggerSet.issue(OWNER, example=IMAGE, classes=2, count=4)


def test_options_of_issue() -> None:
    for options, words in (
        ({"classes": 1}, "classes must be"),
        ({"classes": 10, "batches": 0}, "batches must be"),
        ({"classes": 10, "family": "nothing/v1"}, "nothing/v1"),
        ({"classes": 10, "label": ""}, "label"),
        ({"classes": ["a", ""]}, "classes"),
    ):
        with pytest.raises(OptionError, match=words):
            TriggerSet.issue(OWNER, example=IMAGE, **options)  # type: ignore[arg-type]
    assert preparation_of((IMAGE,)).images == "NCHW"
