"""Inputs are changed as said, in the model's own units, and the model is what it was."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from modeldeed.attacks import (
    AttackData,
    InputFlip,
    InputLevels,
    InputNoise,
    Jpeg,
    Preprocessed,
    Reconstruct,
    Smooth,
    Squeeze,
)
from modeldeed.attacks.preprocessing.smoothing import smoothed
from modeldeed.data import Dataset
from modeldeed.errors import OptionError
from tests.attacks.conftest import small_data, small_points


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(channels: int = 3) -> Dataset:
    """Smooth pictures with a little noise, standardized."""
    at = torch.arange(16) / 16
    waves = [torch.sin(6 * (k * at[:, None] + at)) for k in range(1, 2 * channels, 2)]
    x = torch.stack(waves).expand(24, -1, -1, -1) * torch.linspace(0.3, 1, 24)[:, None, None, None]
    noise = 0.05 * torch.randn(x.shape, generator=generator(5))
    x = ((x + 1) / 2 + noise).clamp(0, 1)
    y = torch.arange(24) % 2
    data = Dataset(name="p", x_train=x, y_train=y, x_test=x, y_test=y, classes=("a", "b"))
    return data.normalized()


def sound() -> Dataset:
    x = torch.sin(torch.arange(64) / 5) * torch.linspace(0.1, 1, 24)[:, None]
    y = torch.arange(24) % 2
    return Dataset(name="s", x_train=x, y_train=y, x_test=x, y_test=y, classes=("a", "b"))


def unit(data: Dataset, x: Tensor) -> Tensor:
    """As the pictures were before they were standardized."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (data.mean, data.std))
    return x * std + mean


def seen(attack, data: Dataset) -> Tensor:
    """What a model behind an attack is given."""
    wrapped = attack.apply(nn.Identity(), AttackData(data), generator())
    assert isinstance(wrapped, Preprocessed)
    with torch.no_grad():
        return wrapped(data.x_train)


def test_jpeg_is_pillow_s() -> None:
    image = pytest.importorskip("PIL.Image")
    for data in (pictures(3), pictures(1)):
        found = unit(data, seen(Jpeg(quality=50), data))
        first = (unit(data, data.x_train)[0] * 255).round().to(torch.uint8).permute(1, 2, 0)
        array = first.numpy()[:, :, 0] if len(data.mean) == 1 else first.numpy()
        file = io.BytesIO()
        image.fromarray(array).save(file, "JPEG", quality=50)
        expected = np.array(image.open(file)).reshape(16, 16, -1)
        back = (found[0].permute(1, 2, 0) * 255).round().numpy()
        assert np.abs(back - expected).max() < 1
    with pytest.raises(OptionError, match="1 or 3 channels, got 2"):
        seen(Jpeg(quality=50), small_data())


def test_a_lower_quality_is_farther_away() -> None:
    pytest.importorskip("PIL")
    data = pictures()
    apart = [float((seen(Jpeg(quality=q), data) - data.x_train).norm()) for q in (90, 50, 10)]
    assert apart == sorted(apart)


@pytest.mark.parametrize("levels", [2, 5])
def test_inputs_have_as_many_levels_as_asked_for(levels: int) -> None:
    data = pictures()
    found = unit(data, seen(InputLevels(levels=levels), data))
    assert len(found.mul(1e4).round().unique()) <= levels
    assert (found - unit(data, data.x_train)).abs().max() <= 0.5 / (levels - 1) + 1e-5


def test_windows_against_slow_arithmetic() -> None:
    x = torch.rand(2, 3, 7, 6, generator=generator())
    for window in (3, 5):
        mean, median = (smoothed(x, kind, window) for kind in ("mean", "median"))
        bell = smoothed(x, "gaussian", window)
        for row, column in ((0, 0), (3, 2), (6, 5)):
            reach = range(-(window // 2), window // 2 + 1)
            rows = [min(max(row + d, 0), 6) for d in reach]
            columns = [min(max(column + d, 0), 5) for d in reach]
            patch = x[:, :, rows][:, :, :, columns].flatten(2)
            torch.testing.assert_close(mean[:, :, row, column], patch.mean(2))
            torch.testing.assert_close(median[:, :, row, column], patch.median(2).values)
            away = torch.tensor([[a * a + b * b for b in reach] for a in reach]).flatten()
            heights = torch.exp(-away / 2 / (window / 6) ** 2)
            expected = patch @ (heights / heights.sum())
            torch.testing.assert_close(bell[:, :, row, column], expected)


@pytest.mark.parametrize("kind", ["mean", "median", "gaussian"])
def test_smoothing_takes_noise_out_of_pictures_and_sound(kind: str) -> None:
    at = torch.linspace(-1, 1, 16)
    slope = (at[:, None] + 2 * at).expand(24, 3, -1, -1) / 2
    for clean in (replace(pictures(), x_train=slope, x_test=slope), sound()):
        noise = 0.2 * torch.randn(clean.x_train.shape, generator=generator())
        noisy = replace(clean, x_train=clean.x_train + noise)
        found = seen(Smooth(kind=kind), noisy)
        assert (found - clean.x_train).norm() < 0.9 * noise.norm()


def test_noise_is_new_in_every_call_and_repeats_with_the_generator() -> None:
    data = small_data()
    attack = InputNoise(deviation=0.1)
    first, again = (attack.apply(nn.Identity(), AttackData(data), generator()) for _ in range(2))
    x = data.x_train
    one, two = first(x), first(x)
    assert not torch.equal(one, two)
    assert torch.equal(again(x), one)
    assert 0.07 < float((one - x).std()) < 0.11
    assert one.min() >= 0


def test_pictures_are_mirrored() -> None:
    data = small_data()
    assert torch.equal(seen(InputFlip(), data), data.x_train.flip(3))
    assert torch.equal(seen(InputFlip(way="down"), data), data.x_train.flip(2))
    assert torch.equal(seen(InputFlip(way="both"), data), data.x_train.flip(2, 3))
    half = seen(InputFlip(share=0.5), data)
    flipped = [torch.equal(a, b.flip(2)) for a, b in zip(half, data.x_train, strict=True)]
    assert 10 < sum(flipped) < 38


def test_clouds_are_mirrored_in_their_range() -> None:
    data = small_points()
    found, x = seen(InputFlip(), data), data.x_train
    torch.testing.assert_close(found[:, :, ::2], x[:, :, ::2], rtol=1e-4, atol=1e-4)
    low, high = x.amin(), x.amax()
    torch.testing.assert_close(found[:, :, 1], low + high - x[:, :, 1], rtol=1e-4, atol=1e-4)


def test_squeezing_rounds_and_takes_medians() -> None:
    data = pictures()
    found = unit(data, seen(Squeeze(bits=2, window=3), data))
    rounded = unit(data, seen(InputLevels(levels=4), data))
    torch.testing.assert_close(found, smoothed(rounded, "median", 3))
    points = small_points()
    assert torch.equal(seen(Squeeze(bits=3), points), seen(InputLevels(levels=8), points))
    assert seen(Squeeze(bits=3), sound()).shape == (24, 64)


def test_an_autoencoder_keeps_what_it_has_learned_and_not_the_rest() -> None:
    data = pictures()
    attack = Reconstruct(epochs=60, batch_size=12, channels=3)
    wrapped = attack.apply(nn.Identity(), AttackData(data), generator())
    with torch.no_grad():
        usual = (wrapped(data.x_train) - data.x_train).square().mean()
        strange = torch.rand(data.x_train.shape, generator=generator()) * 4 - 2
        unusual = (wrapped(strange) - strange).square().mean()
    assert usual < 0.3 * data.x_train.var()
    assert unusual > 3 * usual
    assert seen(Reconstruct(epochs=1, batch_size=12), sound()).shape == (24, 64)


def test_the_weights_are_those_of_the_model(model: nn.Module, data: AttackData) -> None:
    wrapped = InputLevels(levels=2).apply(model, data, generator())
    own = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    assert list(wrapped.state_dict()) == list(own)
    assert all(torch.equal(wrapped.state_dict()[name], own[name]) for name in own)


@pytest.mark.parametrize(
    ("attack", "data", "told"),
    [
        (Jpeg(quality=50), small_points, "changes pictures; these inputs are points"),
        (Smooth(), small_points, "changes pictures or sound; these inputs are points"),
        (Reconstruct(), small_points, "changes pictures or sound"),
        (InputFlip(), sound, "changes pictures or points; these inputs are sound"),
    ],
)
def test_inputs_of_another_kind_are_refused(attack, data, told: str) -> None:
    with pytest.raises(OptionError, match=told):
        seen(attack, data())


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: Jpeg(quality=0), "quality is in"),
        (lambda: InputLevels(levels=1), "levels is at least 2"),
        (lambda: Smooth(kind="mode"), "kind is"),
        (lambda: Smooth(window=4), "window is odd"),
        (lambda: InputNoise(deviation=0), "deviation is > 0"),
        (lambda: InputFlip(way="up"), "way is"),
        (lambda: Squeeze(bits=9), "bits is in"),
        (lambda: Reconstruct(channels=0), "channels is at least 1"),
    ],
)
def test_options_out_of_range_are_refused(call, told: str) -> None:
    with pytest.raises(OptionError, match=told):
        call()
