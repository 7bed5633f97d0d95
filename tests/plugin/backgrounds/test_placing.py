"""Placings against slow twins: the content of the carrier is really there."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from modeldeed.anchor.trigger_rule import AudioInput, ImageInput, PointInput
from modeldeed.plugin.backgrounds.placing import default_placing, find_placing
from modeldeed.plugin.backgrounds.placing.beside import beside
from modeldeed.plugin.backgrounds.placing.mixed import mixed
from modeldeed.plugin.backgrounds.placing.window import edge, window
from tests.plugin.backgrounds.samples import (
    CLOUD,
    DIGIT,
    FORMS,
    SMALL,
    SOUND,
    backgrounds_of,
    carriers_of,
)

# --- images ---


@pytest.mark.parametrize("size", [(8, 8), (32, 32), (96, 96), (224, 224), (5, 67), (4, 4)])
def test_the_window_shows_the_carrier_and_the_rest_the_background(size: tuple[int, int]) -> None:
    form = ImageInput(channels=2, height=size[0], width=size[1])
    carriers, drawn = carriers_of(form, 4).numpy().reshape(2, 2, 2, *size)
    placed = window(carriers, drawn.copy(), form)
    border = [max(1, math.floor(0.15 * side + 0.5)) for side in size]
    for y in range(size[0]):
        for x in range(size[1]):
            inside = all(
                b <= at < side - b for at, b, side in zip((y, x), border, size, strict=True)
            )
            source = carriers if inside else drawn
            assert (placed[:, :, y, x] == source[:, :, y, x]).all()


@pytest.mark.parametrize("side", [8, 28, 32, 64, 96, 224])
def test_the_window_is_about_half_of_the_area(side: int) -> None:
    inside = side - 2 * edge(side)
    assert 0.44 < inside**2 / side**2 < 0.6


# --- points ---


def slow_beside(carrier: list[list[int]], drawn: list[list[int]], points: int) -> list[list[int]]:
    mean = [sum(point[axis] for point in carrier) // points for axis in range(3)]
    away = [[value - m for value, m in zip(point, mean, strict=True)] for point in carrier]
    far = max(2**11, *(math.isqrt(sum(value**2 for value in point)) for point in away))
    placed = []
    for number, point in enumerate(away):
        if number % 4 == 3:
            moved = [value * far // 2**15 for value in drawn[number // 4]]
        else:
            moved = [value * 2 // 3 for value in point]
        values = [value + m for value, m in zip(moved, mean, strict=True)]
        placed.append([min(2**15 - 1, max(-(2**15), value)) for value in values])
    return placed


@pytest.mark.parametrize("points", [16, 17, 19, 100])
@pytest.mark.parametrize("bits", [0, 6, 15])
def test_points_are_those_of_a_slow_twin(points: int, bits: int) -> None:
    form = PointInput(points=points)
    carriers = carriers_of(form, 3).numpy() >> bits
    carriers += np.int16(2**13 if bits else 0)
    drawn = carriers_of(PointInput(points=64), 3).numpy()[:, : points // 4].astype(np.int64)
    placed = beside(carriers, drawn, form)
    for one, carrier, geometry in zip(placed, carriers, drawn, strict=True):
        assert one.tolist() == slow_beside(carrier.tolist(), geometry.tolist(), points)


def test_the_object_keeps_its_shape_and_most_of_its_points() -> None:
    backgrounds, _ = backgrounds_of(CLOUD, "generated")
    carriers = carriers_of(CLOUD, 2) // 2
    samples = backgrounds.place(carriers, torch.tensor([0, 1]))
    kept = torch.arange(CLOUD.points) % 4 != 3
    assert int(kept.sum()) == 192
    before, after = carriers[:, kept].double(), samples[:, kept].double()
    moved = after - before.mul(2 / 3)
    assert float((moved - moved.mean(dim=1, keepdim=True)).abs().max()) < 2


def test_a_smaller_object_has_a_smaller_background() -> None:
    backgrounds, _ = backgrounds_of(CLOUD, "multi")
    carriers = carriers_of(CLOUD, 1) // 2
    sizes = [carriers, torch.div(carriers, 2, rounding_mode="floor")]
    large, small = (backgrounds.place(one, torch.tensor([5])).double() for one in sizes)
    assert float((large / 2 - small).abs().max()) < 4


# --- sound ---


def test_sound_is_that_of_a_slow_twin() -> None:
    form = AudioInput(samples=64)
    drawn = carriers_of(form, 4).numpy().astype(np.int32) >> 1
    carriers = carriers_of(form, 4).numpy()
    carriers[0, 5] = -(2**15)
    carriers[1] //= 2**6
    carriers[2] = 0
    placed = mixed(carriers, drawn, form)
    for one, carrier, sound in zip(placed, carriers, drawn, strict=True):
        peak = max(2**10, *(abs(int(value)) for value in carrier))
        expected = [
            int(c) * 2**14 // peak + int(s) // 2 for c, s in zip(carrier, sound, strict=True)
        ]
        assert one.tolist() == expected


@pytest.mark.parametrize("kind", ["multi", "generated"])
def test_the_carrier_stays_audible(kind: str) -> None:
    """Below half of the range it is as loud as the background or louder, and never cut off."""
    backgrounds, rule = backgrounds_of(SOUND, kind)  # type: ignore[arg-type]
    at = torch.arange(SOUND.samples)
    speech = (torch.sin(at * 0.07) * torch.sin(at * 0.002) * 3000).to(torch.int16)
    indices = torch.arange(rule.count)
    samples = backgrounds.place(speech.expand(rule.count, -1), indices).double()
    assert float(samples.abs().max()) < 2**14 + 2**13
    content = speech.double() / speech.abs().max() * 2**14
    background = samples - content
    ratio = 20 * torch.log10(content.std() / background.std(dim=1))
    assert float(ratio.min()) > 3
    assert float(ratio.max()) < 20, "nor is the background lost"


# --- names ---


def test_names() -> None:
    for form, name in zip(FORMS, ("window", "window", "beside", "mixed"), strict=True):
        assert default_placing(form) == f"{name}/v1"
    assert find_placing(DIGIT, "window/v1") is find_placing(SMALL, "window/v1") is window
