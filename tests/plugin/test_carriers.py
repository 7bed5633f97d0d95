"""Carriers in canonical integers, and a model's inputs turned back into them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from modeldeed import Preparation
from modeldeed.anchor.plugin_rule import BackgroundInput
from modeldeed.anchor.trigger_rule import AudioInput, ImageInput, PointInput
from modeldeed.errors import OptionError
from modeldeed.plugin.carriers import blank_carriers, canonical_carriers, require_carriers

IMAGE = ImageInput(channels=3, height=8, width=6)
POINTS = PointInput(points=20)
SOUND = AudioInput(samples=100)


def drawn(form: BackgroundInput) -> Tensor:
    blank = blank_carriers(form, 5)
    info = torch.iinfo(blank.dtype)
    generator = torch.Generator().manual_seed(0)
    size = blank.shape
    return torch.randint(info.min, info.max + 1, size, generator=generator).to(blank.dtype)


@pytest.mark.parametrize(
    ("form", "prepare"),
    [
        (IMAGE, Preparation()),
        (IMAGE, Preparation(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))),
        (IMAGE, Preparation(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25), images="NHWC")),
        (POINTS, Preparation()),
        (POINTS, Preparation(points="N3P")),
        (SOUND, Preparation()),
        (SOUND, Preparation(audio="N1L")),
    ],
)
def test_preparing_is_undone(form: BackgroundInput, prepare: Preparation) -> None:
    carriers = drawn(form)
    prepared = prepare(carriers)
    assert isinstance(prepared, Tensor)
    assert torch.equal(canonical_carriers(prepared, form, prepare), carriers)
    assert canonical_carriers(carriers, form, prepare) is carriers


def test_what_is_out_of_range_is_cut_off() -> None:
    made = canonical_carriers(torch.tensor([[2.0, -3.0] * 50]), SOUND)
    assert made.unique().tolist() == [-(2**15), 2**15 - 1]


@pytest.mark.parametrize(
    "carriers",
    [
        torch.zeros(2, 3, 6, 8, dtype=torch.uint8),
        torch.zeros(2, 1, 8, 6, dtype=torch.uint8),
        torch.zeros(3, 8, 6, dtype=torch.uint8),
        torch.zeros(2, 3, 8, 6, dtype=torch.int16),
    ],
)
def test_other_forms_are_told(carriers: Tensor) -> None:
    with pytest.raises(OptionError, match=r"of shape \(N, 3, 8, 6\)"):
        require_carriers(carriers, IMAGE)
    if carriers.shape[1:] != (3, 8, 6):
        with pytest.raises(OptionError, match=r"of shape \(N, 3, 8, 6\)"):
            canonical_carriers(carriers.float(), IMAGE)


def test_none_are_told() -> None:
    with pytest.raises(OptionError, match="at least one benign sample"):
        require_carriers(torch.zeros(0, 3, 8, 6, dtype=torch.uint8), IMAGE)


def test_a_mean_of_other_channels_is_told() -> None:
    with pytest.raises(OptionError, match="1 channels, the inputs have 3"):
        canonical_carriers(torch.zeros(2, 3, 8, 6), IMAGE, Preparation(mean=(0.5,), std=(0.5,)))
