"""Small detectors, trained once for all tests of this room."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modeldeed.anchor.plugin_rule import BackgroundRule
from modeldeed.anchor.trigger_rule import AudioInput, ImageInput, PointInput
from modeldeed.plugin.backgrounds import Backgrounds, background_rule
from modeldeed.plugin.detector import (
    Detector,
    DetectorReport,
    DetectorTraining,
    detector_for,
    train_detector,
)
from modeldeed.plugin.detector.media import medium_for

FORMS = {
    "images": ImageInput(channels=3, height=16, width=16),
    "gray": ImageInput(channels=1, height=28, width=20),
    "large": ImageInput(channels=3, height=96, width=64),
    "points": PointInput(points=256),
    "sound": AudioInput(samples=2000),
}
SMALL = DetectorTraining(steps=600, batch_size=128, samples=48, other_keys=16)


@dataclass(frozen=True)
class Trained:
    """A detector with what it was trained on, and what it never saw."""

    detector: Detector
    report: DetectorReport
    backgrounds: Backgrounds
    unseen: Tensor


def rule_for(name: str, count: int = 16) -> BackgroundRule:
    return background_rule(FORMS[name], count=count)


def carriers(name: str, count: int, seed: int) -> Tensor:
    return medium_for(FORMS[name]).synthetic(count, torch.Generator().manual_seed(seed))


def pictures(count: int, seed: int) -> Tensor:
    """Smooth colored pictures, uint8 ``(N, 3, 16, 16)``."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 4, generator=generator) * 255
    return F.interpolate(coarse, (16, 16), mode="bilinear").to(torch.uint8)


def unit_scale(samples: Tensor) -> Tensor:
    return samples.float() / (255 if samples.dtype == torch.uint8 else 2**15)


@pytest.fixture(scope="session")
def trained() -> Trained:
    """Return a detector of 16 backgrounds behind images of 16 x 16."""
    backgrounds = Backgrounds(bytes(32), rule_for("images"))
    detector = detector_for(backgrounds.rule)
    report = train_detector(detector, backgrounds, pictures(600, 1), training=SMALL)
    return Trained(detector, report, backgrounds, pictures(1000, 2))
