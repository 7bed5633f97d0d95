"""The set itself: its batches, its classes, its options, its copies."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from modeldeed import Owner, Passport, TriggerSet
from modeldeed.errors import OptionError
from modeldeed.models import resnet_small
from modeldeed.suspects.answering.preparation import Preparation
from modeldeed.triggers.generate import batch_key, generate
from modeldeed.triggers.training import TriggerOptions, TriggerTraining

OWNER = Owner(bytes(range(32)))
IMAGE = torch.zeros(2, 1, 8, 8)


def issue(**options: Any) -> TriggerSet:
    return TriggerSet.issue(OWNER, **{"example": IMAGE, "classes": 10, **options})


def test_all_triggers_are_those_of_the_batches_in_turn() -> None:
    triggers = issue(batches=3)
    assert len(triggers) == 3 * triggers.rule.count == len(triggers.inputs) == len(triggers.labels)
    for number in range(3):
        part = slice(number * triggers.rule.count, (number + 1) * triggers.rule.count)
        batch = triggers.batch(number)
        assert torch.equal(batch.inputs, triggers.inputs[part])
        assert torch.equal(batch.labels, triggers.labels[part])
        wanted = generate(batch_key(triggers._key, number), triggers.rule)
        assert torch.equal(batch.inputs, wanted.inputs)
    for number in (-1, 3):
        with pytest.raises(OptionError, match=r"0 … 2"):
            triggers.batch(number)


def test_prepared_triggers_are_what_a_judge_would_feed() -> None:
    rule = Preparation(mean=(0.5,), std=(0.25,))
    triggers = issue(prepare=rule)
    chosen = torch.tensor([5, 1])
    assert torch.equal(triggers.prepared(chosen), rule(triggers.inputs[chosen]))
    assert torch.equal(triggers.prepared(), rule(triggers.inputs))


def test_the_rule_of_training_is_no_evidence(tmp_path: Path) -> None:
    rule = TriggerTraining(per_batch=7)
    triggers = issue(training=rule)
    assert triggers.training is rule
    assert triggers.manifest == issue().manifest
    triggers.save(tmp_path)
    assert TriggerSet.load(tmp_path, OWNER).training == TriggerTraining()
    assert TriggerSet.load(tmp_path, OWNER, training=rule).training is rule


def test_a_copy_shares_the_triggers_and_not_the_place_in_them() -> None:
    triggers = issue()
    triggers.feed.take("public", 3)
    pair = {"one": triggers, "same": triggers}
    twins = copy.deepcopy(pair)
    assert twins["one"] is twins["same"] is not triggers
    assert twins["one"].inputs is triggers.inputs
    twins["one"].feed.take("public", 3)
    assert triggers.feed.state() == {"steps": 0, "public": 3}


def test_those_of_a_passport_are_saved_with_it() -> None:
    passport = Passport.issue(
        resnet_small(10, 1), OWNER, example=IMAGE, classes=10, triggers=TriggerOptions(batches=1)
    )
    assert passport.triggers is not None
    with pytest.raises(OptionError, match=r"passport\.save"):
        passport.triggers.save("nowhere")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 1}, "classes must be"),
        ({"batches": 257}, "batches must be"),
        ({"family": "none/v1"}, "no family"),
        ({"example": torch.zeros(2, 8, dtype=torch.int64)}, "vocabulary"),
        ({"label": ""}, "label"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        issue(**options)


def test_it_says_what_it_is() -> None:
    triggers = issue()
    assert repr(triggers) == f"TriggerSet(128 of {triggers.rule.family}, image, 10 classes)"
