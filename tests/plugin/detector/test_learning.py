"""Training: success and silence on what was held out, determinism, refusals."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from modeldeed.attacks.pruning import prune
from modeldeed.attacks.quantization import quantize
from modeldeed.errors import OptionError
from modeldeed.plugin.backgrounds import Backgrounds, background_rule
from modeldeed.plugin.detector import Detector, DetectorTraining, detector_for, train_detector
from modeldeed.triggers.distortions import distorted
from tests.plugin.detector.conftest import FORMS, SMALL, Trained, carriers, rule_for, unit_scale

TINY = DetectorTraining(steps=6, batch_size=32, samples=2, other_keys=4)


def placed(trained: Trained, backgrounds: Backgrounds) -> tuple[Tensor, Tensor]:
    indices = torch.arange(len(trained.unseen)) % backgrounds.rule.count
    return backgrounds.place(trained.unseen, indices), indices


def share(hits: Tensor) -> float:
    return float(hits.float().mean())


def test_own_samples_get_their_index(trained: Trained) -> None:
    samples, indices = placed(trained, trained.backgrounds)
    assert share(trained.detector.detect(unit_scale(samples)) == indices) >= 0.99


def test_benign_samples_activate_nothing(trained: Trained) -> None:
    assert share(trained.detector.detect(unit_scale(trained.unseen)) >= 0) <= 0.003


def test_other_keys_activate_nothing(trained: Trained) -> None:
    found = [
        trained.detector.detect(
            unit_scale(
                placed(trained, Backgrounds(bytes([n + 1]) * 32, rule_for("images", 100)))[0]
            )
        )
        for n in range(3)
    ]
    assert share(torch.cat(found) >= 0) <= 0.01


def test_changed_samples_are_mostly_recognized(trained: Trained) -> None:
    samples, indices = placed(trained, trained.backgrounds)
    changed = distorted(samples, FORMS["images"], torch.Generator().manual_seed(0))
    assert share(trained.detector.detect(unit_scale(changed)) == indices) >= 0.8


def test_weaker_weights_still_know(trained: Trained) -> None:
    samples, indices = placed(trained, trained.backgrounds)
    for weak in (prune(trained.detector, share=0.5), quantize(trained.detector, bits=4)):
        assert isinstance(weak, Detector)
        assert share(weak.detect(unit_scale(samples)) == indices) >= 0.95
        assert share(weak.detect(unit_scale(trained.unseen)) >= 0) <= 0.01


def test_the_report_says_what_is_measured_again(trained: Trained) -> None:
    report = trained.report
    assert report.steps == SMALL.steps
    assert report.threshold == pytest.approx(float(trained.detector.threshold))
    assert 0.3 <= report.threshold < 0.99
    assert not report.synthetic
    assert report.seconds > 0
    assert report.success.samples == 16 * 12
    assert report.benign.samples == 60
    assert report.success.value >= 0.98
    assert report.other_keys.value <= 0.01
    assert report.benign.upper > report.benign.value
    assert report.success.lower < report.success.value


def trained_tiny(seed: int, benign: Tensor | None, **options: Any) -> Detector:
    backgrounds = Backgrounds(bytes(32), rule_for("images"))
    detector = detector_for(backgrounds.rule)
    training = DetectorTraining(**{**vars(TINY), "seed": seed})
    train_detector(detector, backgrounds, benign, training=training, **options)
    return detector


def test_it_follows_from_its_seed_and_leaves_global_numbers_alone() -> None:
    benign = carriers("images", 64, 3)
    torch.manual_seed(5)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # type: ignore[index,union-attr]  # noqa: NPY002
    kept = benign.clone()
    first, second = trained_tiny(0, benign), trained_tiny(0, benign)
    other = trained_tiny(1, benign)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    assert not torch.equal(first.last.weight, other.last.weight)
    assert torch.equal(benign, kept)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert (np.random.get_state()[1] == before[2]).all()  # type: ignore[index]  # noqa: NPY002


def test_it_forgets_what_it_had_learned(trained: Trained) -> None:
    benign = carriers("images", 64, 3)
    again = detector_for(trained.backgrounds.rule)
    again.load_state_dict(trained.detector.state_dict())
    train_detector(again, trained.backgrounds, benign, training=TINY)
    assert torch.equal(again.last.weight, trained_tiny(0, benign).last.weight)


def test_progress_is_told_after_every_step() -> None:
    told: list[tuple[int, int]] = []
    trained_tiny(0, carriers("images", 64, 3), progress=lambda *step: told.append(step))
    assert told == [(step, 6) for step in range(1, 7)]


def test_no_gradients_are_left_and_modes_stay() -> None:
    backgrounds = Backgrounds(bytes(32), rule_for("images"))
    detector = detector_for(backgrounds.rule).eval()
    with torch.no_grad():
        train_detector(detector, backgrounds, carriers("images", 64, 3), training=TINY)
    assert not detector.training
    assert all(weight.grad is None for weight in detector.parameters())


def test_it_is_silent_while_it_is_trained() -> None:
    backgrounds = Backgrounds(bytes(32), rule_for("images"))
    detector = detector_for(backgrounds.rule)
    detector.threshold.fill_(0.1)
    seen = []
    train_detector(
        detector,
        backgrounds,
        carriers("images", 64, 3),
        training=TINY,
        progress=lambda *_: seen.append(float(detector.threshold)),
    )
    assert set(seen) == {1.0}


@pytest.mark.parametrize("kind", ["fixed", "multi", "generated"])
@pytest.mark.parametrize("name", FORMS)
def test_every_kind_of_every_form_is_trained_without_benign_samples(name: str, kind: Any) -> None:
    rule = background_rule(FORMS[name], kind, count=None if kind == "fixed" else 8)
    detector = detector_for(rule)
    training = DetectorTraining(steps=2, batch_size=32, samples=2, other_keys=4)
    report = train_detector(detector, Backgrounds(bytes(32), rule), training=training)
    assert report.synthetic
    assert detector(unit_scale(carriers(name, 3, 0))).shape == (3, rule.count + 1)


@pytest.mark.parametrize(
    ("benign", "named"),
    [
        (torch.zeros(100, 3, 16, 17, dtype=torch.uint8), "shape"),
        (torch.zeros(100, 3, 16, 16), "uint8"),
        (torch.zeros(63, 3, 16, 16, dtype=torch.uint8), "64"),
        (torch.zeros(100, 768, dtype=torch.uint8), "shape"),
    ],
)
def test_benign_samples_of_another_form_are_refused(benign: Tensor, named: str) -> None:
    with pytest.raises(OptionError, match=named):
        trained_tiny(0, benign)


def test_a_detector_of_another_rule_is_refused() -> None:
    with pytest.raises(OptionError, match="detector_for"):
        train_detector(
            detector_for(rule_for("images", 12)), Backgrounds(bytes(32), rule_for("images"))
        )


def test_backgrounds_without_all_keys_are_refused() -> None:
    rule = rule_for("images")
    some = Backgrounds.of_keys(Backgrounds(bytes(32), rule).keys(range(8)), rule)
    with pytest.raises(OptionError, match="key of background 8"):
        train_detector(detector_for(rule), some)


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"steps": True},
        {"batch_size": 4},
        {"samples": 1},
        {"other_keys": 0},
        {"weaken": 1.0},
        {"learning_rate": 0.0},
        {"weight_decay": -1.0},
        {"benign_rate": 1.5},
        {"other_rate": -0.1},
        {"seed": 0.5},
    ],
    ids=str,
)
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        DetectorTraining(**wrong)
