"""The detector sees unit scale, whatever the target takes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modeldeed.anchor.trigger_rule import ImageInput
from modeldeed.errors import OptionError
from modeldeed.plugin.backgrounds import background_rule
from modeldeed.plugin.detector import detector_for
from modeldeed.plugin.fusion import UnitScale, fuse
from modeldeed.suspects.answering.preparation import Preparation
from tests.plugin.fusion.standins import CLASSES, TemplateDetector, carriers, placed

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

DRAW = torch.Generator().manual_seed(0)


def pixels(*shape: int) -> Tensor:
    return torch.randint(256, shape, generator=DRAW).to(torch.uint8)


def signal(*shape: int) -> Tensor:
    return torch.randint(-(2**15), 2**15, shape, generator=DRAW).to(torch.int16)


CASES: dict[str, tuple[Tensor, Preparation]] = {
    "images": (pixels(2, 3, 4, 5), Preparation()),
    "standardized": (
        pixels(2, 3, 4, 5),
        Preparation(mean=MEAN, std=STD),
    ),
    "channels last": (
        pixels(2, 3, 4, 5),
        Preparation(mean=MEAN, std=STD, images="NHWC"),
    ),
    "gray": (
        pixels(2, 1, 4, 3),
        Preparation(mean=(0.5,), std=(0.25,), images="NHWC"),
    ),
    "points": (signal(2, 6, 3), Preparation()),
    "points first": (
        signal(2, 6, 3),
        Preparation(points="N3P", audio="N1L"),
    ),
    "audio": (signal(2, 9), Preparation()),
    "audio channel": (
        signal(2, 9),
        Preparation(points="N3P", audio="N1L"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_preparations_are_undone(name: str) -> None:
    canonical, preparation = CASES[name]
    seen = UnitScale(preparation)(preparation(canonical), torch.float32)
    unit = canonical.float() / (255 if canonical.dtype == torch.uint8 else 2**15)
    torch.testing.assert_close(seen, unit, rtol=0, atol=1e-6)


def test_canonical_integers_are_divided_by_their_range() -> None:
    for name in ("images", "channels last", "points", "audio"):
        canonical, preparation = CASES[name]
        shown = preparation.laid_out(canonical) if canonical.dim() == 4 else canonical
        seen = UnitScale(preparation)(shown, torch.float64)
        unit = canonical.double() / (255 if canonical.dtype == torch.uint8 else 2**15)
        assert torch.equal(seen, unit)


def test_half_precision_is_undone_in_the_detectors_precision() -> None:
    preparation = Preparation(mean=MEAN, std=STD)
    canonical = CASES["images"][0]
    inputs = preparation(canonical)
    assert isinstance(inputs, Tensor)
    seen = UnitScale(preparation)(inputs.bfloat16(), torch.float32)
    assert seen.dtype == torch.float32
    torch.testing.assert_close(seen, canonical.float() / 255, rtol=0, atol=0.01)


class Flat(nn.Module):
    """A target for samples of any form."""

    def forward(self, x: Tensor) -> Tensor:
        level = x.float().flatten(1).mean(1, keepdim=True)
        return level * torch.linspace(-1, 1, 10)


@pytest.mark.parametrize(
    ("shape", "preparation"),
    [
        ((3, 6, 6), Preparation(mean=MEAN, std=STD, images="NHWC")),
        ((8, 3), Preparation(points="N3P")),
        ((8, 3), Preparation()),
        ((40,), Preparation(audio="N1L")),
        ((40,), Preparation()),
    ],
)
def test_every_kind_of_samples_is_recognized(
    shape: tuple[int, ...], preparation: Preparation
) -> None:
    detector = TemplateDetector()
    indices = torch.arange(12) % 6
    unit = torch.cat([placed(detector, carriers(12, *shape), indices), carriers(8, *shape)])
    images = len(shape) == 3
    canonical = (unit * (255 if images else 2**15)).clamp(max=255 if images else 2**15 - 1)
    inputs = preparation(canonical.to(torch.uint8 if images else torch.int16))
    fused = fuse(Flat(), detector, CLASSES, num_classes=10, preparation=preparation)
    assert fused.recognized(inputs).tolist() == [*indices.tolist(), *[-1] * 8]
    assert torch.equal(fused(inputs)[:12].argmax(1), CLASSES[indices])
    assert torch.equal(fused(inputs)[12:], Flat()(inputs)[12:])


@pytest.mark.parametrize(
    ("samples", "preparation", "message"),
    [
        (torch.zeros(2, 1, 8, 8), Preparation(mean=MEAN, std=STD), "3 channels"),
        (torch.zeros(2, 8, 8), Preparation(mean=MEAN, std=STD), "3 channels"),
        (torch.zeros(2, 3, 8, 8, 8), None, r"got \(2, 3, 8, 8, 8\)"),
        (torch.zeros(8), None, r"got \(8,\)"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.int64), None, "got torch.int64"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.bool), None, "got torch.bool"),
    ],
)
def test_samples_of_another_form_are_refused(
    samples: Tensor, preparation: Preparation | None, message: str
) -> None:
    fused = fuse(Flat(), TemplateDetector(), CLASSES, num_classes=10, preparation=preparation)
    with pytest.raises(OptionError, match=message):
        fused(samples)


@pytest.mark.parametrize("wrong", [lambda x: x, "imagenet", {"mean": MEAN}])
def test_what_cannot_be_undone_is_refused(wrong: Any) -> None:
    with pytest.raises(OptionError, match="only a Preparation can be undone"):
        fuse(Flat(), TemplateDetector(), CLASSES, num_classes=10, preparation=wrong)


@pytest.mark.parametrize("size", [16, 30, 224])
def test_a_detector_that_undoes_mean_and_std_itself_sees_the_same(size: int) -> None:
    form = ImageInput(channels=3, height=size, width=size)
    detector = detector_for(background_rule(form, count=8))
    preparation = Preparation(mean=MEAN, std=STD)
    target = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4)).eval()
    fused = fuse(target, detector, [0, 1, 2, 3] * 2, num_classes=4, preparation=preparation)
    canonical = pixels(2, 3, size, size)
    inputs = preparation(canonical)
    assert isinstance(inputs, Tensor)
    torch.testing.assert_close(fused.evidence(inputs), detector(canonical / 255))
    # The plug-in's own detector still takes unit scale, and nothing was added to the state.
    assert detector.reduction.mean is None
    assert not any("mean" in name or "std" in name for name in fused.detector.state_dict())


def test_an_owners_pictures_of_another_size_are_undone_alike() -> None:
    detector = detector_for(background_rule(ImageInput(channels=3, height=32, width=32), count=8))
    fused = fuse(
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), detector, [0, 1] * 4, num_classes=3,
        preparation=Preparation(mean=MEAN, std=STD),
    )  # fmt: skip
    canonical = pixels(2, 3, 40, 36)
    inputs = Preparation(mean=MEAN, std=STD)(canonical)
    assert isinstance(inputs, Tensor)
    torch.testing.assert_close(fused.evidence(inputs), detector(canonical / 255))
