"""Families of backgrounds: slow twins, and what every drawing must be."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modeldeed.anchor.plugin_rule import BackgroundInput, BackgroundKind
from modeldeed.anchor.trigger_rule import AudioInput, ImageInput, PointInput
from modeldeed.plugin.backgrounds.families import find, names
from modeldeed.streams import KeyStream
from modeldeed.triggers.distortions import distorted
from modeldeed.triggers.families import Draws
from tests.plugin.backgrounds.samples import (
    CLOUD,
    DIGIT,
    SMALL,
    SOUND,
    backgrounds_of,
    carriers_of,
)

KEY = bytes(range(32))


def of_keys(form: BackgroundInput, name: str, count: int) -> Any:
    family = find(form, name, generated=name in names(form.kind, generated=True))
    return family.of_key(Draws([KeyStream(KEY, "key", n) for n in range(count)]), form)


def drawn(form: BackgroundInput, name: str, count: int, *, keys: int | None = None) -> Any:
    """Backgrounds of as many keys, or of fewer keys in turn under other carriers each."""
    family = find(form, name, generated=name in names(form.kind, generated=True))
    decided = of_keys(form, name, keys or count)[np.arange(count) % (keys or count)]
    if family.of_carrier is None:
        return decided
    streams = [KeyStream(KEY, "carrier", n) for n in range(count)]
    return family.of_carrier(decided, Draws(streams), form)


# --- images ---


class SlowLayer:
    """Bytes of one size of blocks, by channel, row and column."""

    def __init__(self, read: KeyStream, form: ImageInput, side: int) -> None:
        self.form, short = form, min(form.height, form.width)
        self.rows, self.columns = side * form.height // short, side * form.width // short
        self.data = read.read(form.channels * self.rows * self.columns)

    def at(self, channel: int, y: int, x: int, fine: tuple[int, int]) -> int:
        row, column = y * fine[0] // self.form.height, x * fine[1] // self.form.width
        row, column = row * self.rows // fine[0], column * self.columns // fine[1]
        return self.data[(channel * self.rows + row) * self.columns + column]


def sides(form: ImageInput) -> list[int]:
    return [side for side in (2, 4, 8, 16) if side <= min(form.height, form.width)]


def clipped(total: int) -> int:
    return min(255, max(0, total // 16 + 128))


@pytest.mark.parametrize("size", [(1, 8, 8), (2, 5, 19), (3, 32, 32), (1, 33, 17)])
def test_layers_are_those_of_a_slow_twin(size: tuple[int, int, int]) -> None:
    form = ImageInput(channels=size[0], height=size[1], width=size[2])
    for number, picture in enumerate(drawn(form, "layers/v1", 2)):
        read = KeyStream(KEY, "key", number)
        parts = [SlowLayer(read, form, side) for side in sides(form)]
        fine = parts[-1].rows, parts[-1].columns
        for channel, y, x in np.ndindex(*size):
            values = [part.at(channel, y, x, fine) - 128 for part in parts]
            total = sum(w * v for w, v in zip((12, 10, 6, 4), values, strict=False))
            assert picture[channel, y, x] == clipped(total)


@pytest.mark.parametrize("size", [(1, 8, 8), (2, 5, 19), (3, 32, 32)])
def test_drifts_are_those_of_a_slow_twin(size: tuple[int, int, int]) -> None:
    form = ImageInput(channels=size[0], height=size[1], width=size[2])
    for number, picture in enumerate(drawn(form, "drifts/v1", 2)):
        read, carrier = KeyStream(KEY, "key", number), KeyStream(KEY, "carrier", number)
        both = [[SlowLayer(read, form, side) for _ in range(2)] for side in sides(form)]
        fine = both[-1][0].rows, both[-1][0].columns
        signs = []
        for color, _ in both:
            count = len(color.data)
            packed = carrier.read(-(-count // 8))
            up = SlowLayer(KeyStream(KEY, "unused"), form, 2)
            up.rows, up.columns = color.rows, color.columns
            up.data = bytes(packed[n // 8] >> n % 8 & 1 for n in range(count))
            signs.append(up)
        for channel, y, x in np.ndindex(*size):
            total = 0
            for weight, shift, (color, away), up in zip(
                (12, 10, 6, 4), (1, 2, 8, 16), both, signs, strict=False
            ):
                sign = 1 if up.at(channel, y, x, fine) else -1
                moved = sign * (away.at(channel, y, x, fine) - 128) * shift // 8
                total += weight * (color.at(channel, y, x, fine) - 128 + moved)
            assert picture[channel, y, x] == clipped(total)


@pytest.mark.parametrize("name", ["layers/v1", "drifts/v1"])
@pytest.mark.parametrize("form", [DIGIT, SMALL])
def test_images_use_the_range_and_every_pixel_alike(name: str, form: ImageInput) -> None:
    values = drawn(form, name, 400).astype(np.float64)
    assert 122 < values.mean() < 134
    assert values.std() > 65
    assert values.std(axis=0).min() > 45, "a pixel is about the same in all of them"


def test_about_a_quarter_of_the_variance_is_between_carriers() -> None:
    values = drawn(SMALL, "drifts/v1", 2000, keys=40).reshape(50, 40, -1).astype(np.float64)
    share = values.var(axis=0, ddof=1).mean() / values.reshape(2000, -1).var(axis=0).mean()
    assert 0.2 < share < 0.3


# --- points ---


@pytest.mark.parametrize("points", [16, 1024])
@pytest.mark.parametrize("name", ["beacons/v1", "mobiles/v1"])
def test_geometry_lies_around_the_object(name: str, points: int) -> None:
    """Beyond two thirds of the reach, where the placing leaves nothing of the object."""
    geometry = drawn(PointInput(points=points), name, 64).astype(np.float64) / 2**15
    assert geometry.shape == (64, points // 4, 3)
    away = np.sqrt((geometry**2).sum(axis=2))
    assert np.mean(away > 2 / 3) > 0.95
    assert np.mean(away < 1.1) > 0.95
    assert abs(geometry.mean()) < 0.05


def test_heaps_lie_at_one_distance_in_all_directions() -> None:
    center = of_keys(CLOUD, "mobiles/v1", 200)[:, :, 0].astype(np.float64) / 2**15
    away = np.sqrt((center**2).sum(axis=2))
    assert np.abs(away - 0.875).max() < 2e-3
    octants = np.unique((center.reshape(-1, 3) > 0) @ [1, 2, 4], return_counts=True)[1]
    assert len(octants) == 8
    assert octants.min() > 140


def test_a_mobile_turns_about_the_vertical_and_sways_a_little() -> None:
    form = PointInput(points=4096)
    decided = of_keys(form, "mobiles/v1", 1)
    decided[:, :, 1] = 0  # the heaps themselves, without their width
    family = find(form, "mobiles/v1", generated=True)
    streams = [KeyStream(KEY, "carrier", n) for n in range(200)]
    heaps = family.of_carrier(decided.repeat(200, 0), Draws(streams), form)  # type: ignore[misc]
    heaps = heaps[:, :8].astype(np.float64)
    rest = decided[:, :, 0].astype(np.float64)
    assert np.abs(heaps[:, :, 1] - rest[:, :, 1]).max() <= 2**11
    plane, start = (p[:, :, 0] + 1j * p[:, :, 2] for p in (heaps, rest))
    turn = np.angle((plane * start.conj()).sum(axis=1))
    assert np.abs(turn).max() < 2 * math.atan(0.25) + 0.1
    assert turn.std() > 0.2
    back = plane * np.exp(-1j * turn)[:, None]
    assert np.abs(back - start).max() < 2**11 * 3


# --- sound ---


@pytest.mark.parametrize("name", ["notes/v1", "modes/v1"])
def test_sound_stays_within_half_of_the_range_without_an_offset(name: str) -> None:
    sound = drawn(SOUND, name, 64).astype(np.float64)
    assert np.abs(sound).max() < 2**14
    assert sound.std(axis=1).min() > 1500
    assert abs(sound.mean()) < 100


@pytest.mark.parametrize(("samples", "notes"), [(64, 1), (511, 1), (512, 2), (4096, 12)])
def test_notes_are_not_too_short(samples: int, notes: int) -> None:
    assert of_keys(AudioInput(samples=samples), "modes/v1", 1).shape == (1, 3, notes, 4)


def test_modes_are_those_of_a_slow_twin() -> None:
    form = AudioInput(samples=600)
    decided = of_keys(form, "modes/v1", 2)
    for number, sound in enumerate(drawn(form, "modes/v1", 2)):
        draws = Draws([KeyStream(KEY, "carrier", number)])
        choice, start, level = draws.bits(3, 2), draws.below(2**31, 3, 2), draws.below(128, 3, 2)
        for at in range(600):
            note, total = at * 2 // 600, 0
            for voice in range(3):
                up, down, square, loud = decided[number, voice, note].tolist()
                step = up if choice[0, voice, note] else down
                phase = (step * at + 2 * int(start[0, voice, note])) % 2**32
                triangle = min(phase, 2**32 - 1 - phase) // 2**15 - 2**15
                wave = (2**15 if phase < 2**31 else -(2**15)) if square else triangle
                total += wave * (loud * (int(level[0, voice, note]) + 128) // 256) // 2**15
            assert sound[at] == total


def test_pitches_are_periods_of_8_to_128_samples() -> None:
    steps = of_keys(SOUND, "modes/v1", 100)[..., :2]
    assert 2**32 / 128 < steps.min() < 2**32 / 120
    assert 2**32 / 8.5 < steps.max() <= 2**32 / 8


# --- can they be told apart? ---


def view(samples: Tensor, form: BackgroundInput) -> Tensor:
    """What little a small detector may see."""
    if isinstance(form, ImageInput):
        pixels = samples.float()
        if form.height > 16:
            pixels = F.adaptive_avg_pool2d(pixels, 16)
        border = max(1, pixels.shape[2] // 8)
        pixels[:, :, border:-border, border:-border] = 128
        return pixels.flatten(1) / 128
    if isinstance(form, PointInput):
        cells = torch.cartesian_prod(*[torch.linspace(-0.9, 0.9, 6)] * 3)
        cells = cells[cells.norm(dim=1) > 0.7]
        near = torch.cdist(samples.float() / 2**15, cells[None]) ** 2
        return torch.exp(-near / 0.08).mean(dim=1).add(0.01).log()
    frames = samples.float().unfold(1, 256, 256) / 2**12 * torch.hann_window(256)
    spectrum = torch.fft.rfft(frames).abs()
    return spectrum[:, :, 2:40].add(20).log().flatten(1)


def benign(form: BackgroundInput, count: int) -> Tensor:
    """Carriers as plain as real ones: points on a ball, tones and pauses; pixels may be noise."""
    carriers = carriers_of(form, count)
    if isinstance(form, PointInput):
        return F.normalize(carriers.float(), dim=2).mul(2**15 - 1).short()
    if isinstance(form, AudioInput):
        at, pitch = torch.arange(form.samples), torch.arange(count)[:, None] % 20 + 3
        return (torch.sin(at * pitch / 40) * torch.sin(at / 300).clamp(min=0) * 2**13).short()
    return carriers


@pytest.mark.parametrize(
    ("form", "kind", "least"),
    [
        (SMALL, "multi", 0.98),
        (SMALL, "generated", 0.95),
        (CLOUD, "multi", 0.95),
        (CLOUD, "generated", 0.8),
        (SOUND, "multi", 0.75),
        (SOUND, "generated", 0.5),
    ],
)
def test_the_nearest_mean_names_most_backgrounds_after_distortions(
    form: BackgroundInput, kind: BackgroundKind, least: float
) -> None:
    """Of forty; a classifier that learns which directions to trust names nearly all of 168."""
    backgrounds, _ = backgrounds_of(form, kind)
    carriers, every = benign(form, 40), torch.arange(40)
    # Little but background, other for every carrier where it is generated.
    plain = carriers_of(form, 40) & 1 if form is SOUND else carriers
    seen = [view(backgrounds.place(plain.roll(n, 0), every), form) for n in range(1, 9)]
    samples = backgrounds.place(carriers.repeat(4, *[1] * (carriers.ndim - 1)), every.repeat(4))
    changed = distorted(samples, form, torch.Generator().manual_seed(0))
    found = torch.cdist(view(changed, form), torch.stack(seen).mean(dim=0)).argmin(dim=1)
    assert float((found == every.repeat(4)).double().mean()) > least
