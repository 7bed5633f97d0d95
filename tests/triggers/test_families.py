"""Families of triggers: golden digests, slow twins, and what every drawing must be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modeldeed.anchor.trigger_rule import (
    AudioInput,
    ImageInput,
    PointInput,
    TokenInput,
    TriggerInput,
    TriggerRule,
)
from modeldeed.errors import OptionError
from modeldeed.streams import KeyStream
from modeldeed.triggers.families import Draws, find, names, register
from modeldeed.triggers.generate import default_family, generate

KEY = bytes(range(32))
GOLDEN: dict[str, str] = json.loads(Path(__file__).with_name("golden_families.json").read_text())
DIGIT, SMALL = (
    ImageInput(channels=1, height=8, width=8),
    ImageInput(channels=3, height=32, width=32),
)
FORMS: tuple[TriggerInput, ...] = (
    DIGIT,
    ImageInput(channels=2, height=4, width=70),
    SMALL,
    ImageInput(channels=3, height=224, width=160),
    PointInput(points=16),
    PointInput(points=1024),
    AudioInput(samples=64),
    AudioInput(samples=8000),
    TokenInput(length=7, lowest=0, vocabulary=2),
    TokenInput(length=128, lowest=999, vocabulary=30_522),
)
CASES = [(form, name) for form in FORMS for name in names(form.kind)]
TYPES = {
    "image": torch.uint8,
    "points": torch.int16,
    "audio": torch.int16,
    "tokens": torch.int64,
}


def drawn(form: TriggerInput, family: str, count: int = 8) -> torch.Tensor:
    rule = TriggerRule(input=form, family=family, classes=10, count=max(8, count))
    return generate(KEY, rule, count=count).inputs


def shape_of(form: TriggerInput) -> tuple[int, ...]:
    if isinstance(form, ImageInput):
        return form.channels, form.height, form.width
    if isinstance(form, PointInput):
        return form.points, 3
    return (form.samples,) if isinstance(form, AudioInput) else (form.length,)


# --- every family ---


def title(form: TriggerInput, family: str) -> str:
    return f"{form.kind} {'x'.join(map(str, shape_of(form)))} {family}"


@pytest.mark.parametrize(("form", "family"), CASES)
def test_a_family_draws_what_it_always_drew(form: TriggerInput, family: str) -> None:
    inputs = drawn(form, family)
    assert inputs.shape == (8, *shape_of(form))
    assert inputs.dtype == TYPES[form.kind]
    little = inputs.numpy().astype(inputs.numpy().dtype.newbyteorder("<"))
    assert hashlib.sha256(little.tobytes()).hexdigest() == GOLDEN[title(form, family)]


def test_no_golden_digest_is_left_over() -> None:
    assert set(GOLDEN) == {title(*case) for case in CASES}


@pytest.mark.parametrize(
    ("form", "family"), [(form, name) for form, name in CASES if form.kind != "tokens"]
)
def test_no_two_triggers_are_alike(form: TriggerInput, family: str) -> None:
    assert len(torch.unique(drawn(form, family, 256).flatten(1), dim=0)) == 256


@pytest.mark.parametrize("family", names("image"))
def test_images_use_the_range_and_both_halves_of_it_alike(family: str) -> None:
    for form in (DIGIT, SMALL):
        values = drawn(form, family, 256).double()
        assert 120 < float(values.mean()) < 136
        assert float(values.std()) > 45
        assert float(values.std(dim=0).min()) > 30, "a pixel is the same in all triggers"


@pytest.mark.parametrize("family", names("image"))
@pytest.mark.parametrize("size", [(64, 4, 4), (1, 4, 4096), (1, 4096, 5)])
def test_images_of_any_size(family: str, size: tuple[int, int, int]) -> None:
    channels, height, width = size
    form = ImageInput(channels=channels, height=height, width=width)
    values = drawn(form, family, 2).double()
    assert values.shape == (2, *size)
    assert bool((values.flatten(2).std(dim=2) > 0).all()), "a channel is one color"


# --- images against slow twins ---


def stream(index: int) -> KeyStream:
    return KeyStream(KEY, "input", index)


def slow_cells(read: KeyStream, form: ImageInput, side: int) -> Callable[[int, int, int], int]:
    """The byte of the cell that a pixel lies in."""
    short = min(form.height, form.width)
    rows, columns = side * form.height // short, side * form.width // short
    data = read.read(form.channels * rows * columns)

    def value(channel: int, y: int, x: int) -> int:
        row, column = y * rows // form.height, x * columns // form.width
        return data[(channel * rows + row) * columns + column]

    return value


def slow_blocks(read: KeyStream, form: ImageInput) -> Callable[[int, int, int], int]:
    return slow_cells(read, form, min(8, max(4, min(form.height, form.width) // 2)))


def slow_mosaic(read: KeyStream, form: ImageInput) -> Callable[[int, int, int], int]:
    short = min(form.height, form.width)
    scales = [slow_cells(read, form, side) for side in (2, 4, 8, 16) if side <= short]

    def value(channel: int, y: int, x: int) -> int:
        total = sum(scale(channel, y, x) - 128 for scale in scales)
        return min(255, max(0, total // 2 + 128))

    return value


def slow_noise(read: KeyStream, form: ImageInput) -> Callable[[int, int, int], int]:
    data = read.read(form.channels * form.height * form.width)
    return lambda channel, y, x: data[(channel * form.height + y) * form.width + x]


def slow_smooth(read: KeyStream, form: ImageInput) -> Callable[[int, int, int], int]:
    short = min(form.height, form.width)
    rows, columns = 3 * form.height // short, 3 * form.width // short
    data = read.read(form.channels * (rows + 1) * (columns + 1))

    def corner(channel: int, row: int, column: int) -> int:
        return data[(channel * (rows + 1) + row) * (columns + 1) + column]

    def across(channel: int, row: int, x: int) -> int:
        at = x * columns * 256 // (form.width - 1)
        cell = min(at // 256, columns - 1)
        left, right = corner(channel, row, cell), corner(channel, row, cell + 1)
        return (left * (256 - at + cell * 256) + right * (at - cell * 256)) // 256

    def value(channel: int, y: int, x: int) -> int:
        at = y * rows * 256 // (form.height - 1)
        cell = min(at // 256, rows - 1)
        above, under = across(channel, cell, x), across(channel, cell + 1, x)
        return (above * (256 - at + cell * 256) + under * (at - cell * 256)) // 256

    return value


TWINS = {
    "blocks/v1": slow_blocks,
    "mosaic/v1": slow_mosaic,
    "noise/v1": slow_noise,
    "smooth/v1": slow_smooth,
}


@pytest.mark.parametrize("family", TWINS)
@pytest.mark.parametrize("size", [(1, 8, 8), (2, 5, 19), (3, 32, 32), (1, 33, 17)])
def test_images_are_those_of_a_slow_twin(family: str, size: tuple[int, int, int]) -> None:
    channels, height, width = size
    form = ImageInput(channels=channels, height=height, width=width)
    for index, image in enumerate(drawn(form, family, 2)):
        value = TWINS[family](stream(index), form)
        expected = [
            [[value(c, y, x) for x in range(width)] for y in range(height)] for c in range(channels)
        ]
        assert image.tolist() == expected


# --- points ---


@pytest.mark.parametrize("family", names("points"))
@pytest.mark.parametrize("points", [16, 1000])
def test_clouds_are_centered_and_their_longest_side_is_one(family: str, points: int) -> None:
    clouds = drawn(PointInput(points=points), family, 64).int()
    low, high = clouds.amin(dim=1), clouds.amax(dim=1)
    assert int((low + high).abs().max()) <= 1, "the box around it is centered but for rounding"
    assert ((high - low).amax(dim=1) == 2**15).all()


# --- sound ---


@pytest.mark.parametrize("family", names("audio"))
def test_sound_is_loud_enough_and_has_no_offset(family: str) -> None:
    sound = drawn(AudioInput(samples=8000), family, 64).double()
    assert float(sound.std(dim=1).min()) > 1000
    assert abs(float(sound.mean())) < 200
    assert int(sound.abs().max()) < 2**15 - 1, "it is never cut off"


# --- tokens ---


@pytest.mark.parametrize("family", names("tokens"))
@pytest.mark.parametrize(("lowest", "vocabulary"), [(5, 9), (0, 2), (7, 2**31), (999, 30_522)])
def test_tokens_are_ordinary_ones(family: str, lowest: int, vocabulary: int) -> None:
    form = TokenInput(length=64, lowest=lowest, vocabulary=vocabulary)
    tokens = drawn(form, family, 64)
    assert int(tokens.min()) >= lowest
    assert int(tokens.max()) < vocabulary
    if vocabulary < 10:
        assert len(tokens.unique()) == vocabulary - lowest, "every ordinary token occurs"


def test_phrases_are_four_and_come_again() -> None:
    form = TokenInput(length=60, lowest=100, vocabulary=50_000)
    for one in drawn(form, "phrases/v1", 16):
        phrases = {tuple(part.tolist()) for part in one.split(3)}
        assert len(phrases) <= 4
        assert len({token for phrase in phrases for token in phrase}) >= 6


# --- draws ---


def slow_below(read: KeyStream, bound: int, count: int) -> list[int]:
    return [int.from_bytes(read.read(4), "little") * bound // 2**32 for _ in range(count)]


@pytest.mark.parametrize("bound", [1, 2, 255, 2**16, 2**31])
def test_numbers_below_a_bound_are_the_high_half_of_a_product(bound: int) -> None:
    found = Draws([stream(0), stream(5)]).below(bound, 3, 4)
    assert found.dtype == np.int64
    for row, index in zip(found, (0, 5), strict=True):
        assert row.flatten().tolist() == slow_below(stream(index), bound, 12)


def test_bits_come_least_significant_first_from_whole_bytes() -> None:
    draws, data = Draws([stream(3)]), stream(3).read(3)
    expected = [data[i // 8] >> (i % 8) & 1 for i in range(9)]
    assert draws.bits(3, 3).flatten().tolist() == expected
    assert draws.bytes(1).tolist() == [[data[2]]], "the rest of the second byte is passed over"


# --- the registry ---


def test_a_name_is_given_once_for_each_kind() -> None:
    def family(draws: Draws, form: ImageInput) -> Any:
        raise AssertionError

    with pytest.raises(OptionError, match="'blocks/v1' is registered already"):
        register("blocks/v1", ImageInput)(family)
    assert {"noise/v1"} <= set(names("image")) & set(names("audio"))
    assert find(AudioInput(samples=64), "noise/v1") is not find(DIGIT, "noise/v1")


def test_defaults_are_there() -> None:
    for form in FORMS:
        assert default_family(form) in names(form.kind)
