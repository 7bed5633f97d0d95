"""A small plug-in that has really learned its backgrounds, trained once for all tests."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from modeldeed.plugin.detector import DetectorTraining
from modeldeed.plugin.plugin import Plugin
from tests.plugin.answering import FORM, OWNER

BACKGROUNDS = 40
TRAINING = DetectorTraining(steps=900, batch_size=128, samples=16, other_keys=4)


def pictures(count: int, seed: int) -> Tensor:
    """Smooth colored pictures, uint8 ``(N, 3, 16, 16)``."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, FORM.channels, 4, 4, generator=generator) * 255
    size = (FORM.height, FORM.width)
    return torch.nn.functional.interpolate(coarse, size, mode="bilinear").to(torch.uint8)


@pytest.fixture(scope="session")
def plugin() -> Plugin:
    made = Plugin.issue(OWNER, FORM, backgrounds=BACKGROUNDS)
    made.train(pictures(200, seed=0), training=TRAINING)
    return made
