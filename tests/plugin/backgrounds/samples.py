"""Forms, and carriers that are the same on every machine."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from modeldeed.anchor.plugin_rule import BackgroundInput, BackgroundKind, BackgroundRule
from modeldeed.anchor.trigger_rule import AudioInput, ImageInput, PointInput
from modeldeed.plugin.backgrounds import Backgrounds, background_root, background_rule
from modeldeed.plugin.backgrounds.checks import shape_of
from modeldeed.streams import KeyStream

SEED = bytes(range(32))
KINDS: tuple[BackgroundKind, ...] = ("fixed", "multi", "generated")
DIGIT = ImageInput(channels=1, height=8, width=8)
SMALL = ImageInput(channels=3, height=32, width=32)
CLOUD = PointInput(points=256)
SOUND = AudioInput(samples=4096)
FORMS: tuple[BackgroundInput, ...] = (DIGIT, SMALL, CLOUD, SOUND)
CASES = [(form, kind) for form in FORMS for kind in KINDS]


def carriers_of(form: BackgroundInput, count: int, first: int = 0) -> Tensor:
    """Noise of the form, other for every number."""
    dtype = "<u1" if form.kind == "image" else "<i2"
    size = math.prod(shape_of(form))
    rows = [
        np.frombuffer(KeyStream(bytes(32), "carrier", n).read(size * int(dtype[2])), dtype)
        for n in range(first, first + count)
    ]
    stacked = np.stack(rows).reshape(count, *shape_of(form))
    return torch.from_numpy(stacked.astype(dtype[1:]))


def backgrounds_of(
    form: BackgroundInput, kind: BackgroundKind, seed: bytes = SEED
) -> tuple[Backgrounds, BackgroundRule]:
    rule = background_rule(form, kind)
    return Backgrounds(background_root(seed, rule), rule), rule


def spread_indices(count: int, rule: BackgroundRule) -> Tensor:
    """Indices from both ends and between, all different where there are enough."""
    return torch.arange(count) * 53 % rule.count
