"""Distortions: small, drawn anew, of the same form, from their own generator."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from modeldeed.anchor.trigger_rule import (
    AudioInput,
    ImageInput,
    PointInput,
    TokenInput,
    TriggerInput,
    TriggerRule,
)
from modeldeed.streams import KeyStream
from modeldeed.triggers.distortions import distorted
from modeldeed.triggers.distortions.audio import distorted_audio
from modeldeed.triggers.distortions.images import CHANGES, _rounded, _steps
from modeldeed.triggers.distortions.points import distorted_points
from modeldeed.triggers.generate import batch_key, default_family, generate

FORMS: list[TriggerInput] = [
    ImageInput(channels=1, height=8, width=8),
    ImageInput(channels=3, height=33, width=20),
    ImageInput(channels=4, height=4, width=5),
    PointInput(points=40),
    AudioInput(samples=200),
    TokenInput(length=30, lowest=5, vocabulary=900),
]


def some(form: TriggerInput, count: int = 40) -> torch.Tensor:
    rule = TriggerRule(input=form, family=default_family(form), classes=10, count=64)
    return generate(batch_key(bytes(32), 0), rule, count=count).inputs


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.kind}")
def test_they_keep_the_form_and_follow_their_generator(form: TriggerInput) -> None:
    inputs = some(form)
    kept, state = inputs.clone(), torch.get_rng_state()
    changed = distorted(inputs, form, seeded())
    assert torch.equal(inputs, kept)
    assert torch.equal(torch.get_rng_state(), state)
    assert (changed.dtype, changed.shape) == (inputs.dtype, inputs.shape)
    assert torch.equal(distorted(inputs, form, seeded()), changed)
    assert not torch.equal(distorted(inputs, form, seeded(1)), changed)
    same = (changed == inputs).flatten(1).all(1).sum()
    assert 2 <= int(same) <= 30  # about a quarter, more where a change rounds to nothing


@pytest.mark.parametrize("form", FORMS[:2], ids=lambda form: f"{form.height}")
def test_a_changed_picture_is_nearer_to_itself_than_others_are(form: TriggerInput) -> None:
    inputs = some(form).float()
    changed = distorted(some(form), form, seeded()).float()
    apart = torch.cdist(changed.flatten(1), inputs.flatten(1))
    nearest = (apart.argmin(1) == torch.arange(len(inputs))).float().mean()
    assert nearest > 0.9


def test_tokens_stay_ordinary_and_mostly_themselves() -> None:
    form = TokenInput(length=30, lowest=5, vocabulary=900)
    changed = distorted(some(form), form, seeded())
    assert int(changed.min()) >= 5
    assert int(changed.max()) < 900
    share = (changed != some(form)).float().mean()
    assert 0.01 < share < 0.1


def test_compression_is_that_of_jpeg() -> None:
    """Gray, through the reference encoder: the same but where a cosine is rounded at a tie."""
    values = KeyStream(bytes(32), "picture").integers(256, 24 * 40)
    smooth = torch.nn.functional.avg_pool2d(values.view(1, 1, 24, 40).float(), 3, 1, 1)[0]
    for quality in (30, 50, 90):
        file = io.BytesIO()
        gray = smooth[0].round().to(torch.uint8).numpy()
        Image.fromarray(gray).save(file, "JPEG", quality=quality)
        wanted = torch.from_numpy(np.array(Image.open(file))).float()
        got = _rounded(torch.from_numpy(gray)[None].float() - 128, _steps(quality))[0] + 128
        apart = (got.clamp(0, 255).round() - wanted).abs()
        assert apart.median() == 0
        assert apart.mean() < 0.3 * (wanted - torch.from_numpy(gray)).abs().mean()
        assert (got - torch.from_numpy(gray)).abs().max() > 2


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 24), (2, 4, 9)])
def test_each_change_alone(change, shape: tuple[int, ...]) -> None:  # type: ignore[no-untyped-def]
    image = 255 * torch.rand(shape, generator=seeded())
    kept = image.clone()
    results = [change(image, seeded(seed)) for seed in range(8)]
    assert torch.equal(image, kept)
    assert all(result.shape == shape and torch.isfinite(result).all() for result in results)
    assert any(not torch.allclose(result, image, atol=1) for result in results)
    gray = torch.full(shape, 128.0)
    if change.__name__ not in ("_noisy", "_brightened"):
        assert torch.allclose(change(gray, seeded()), gray, atol=1)


def test_points_stay_on_the_cloud() -> None:
    cloud = some(PointInput(points=400), 1)[0].float()
    moved = distorted_points(cloud, seeded())
    # Turned by at most 15 degrees, scaled by a tenth, jittered: near some point it came from.
    assert torch.cdist(moved, cloud).amin(1).quantile(0.9) < 0.3 * 2**14
    assert len(moved) == 400
    assert len(moved.unique(dim=0)) == 400


def test_sound_of_any_shift_keeps_its_length() -> None:
    sound = torch.arange(1000.0)
    shifts = []
    for seed in range(40):
        moved = distorted_audio(sound, seeded(seed))
        assert moved.shape == sound.shape
        shifts.append(float(moved[500:600].mean() / sound[500:600].mean()))
    assert min(shifts) < 0.95
    assert max(shifts) > 1.05
