"""Placing: what a sample depends on, what it keeps, and what is refused."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from modeldeed.anchor.plugin_rule import BackgroundInput, BackgroundKind
from modeldeed.anchor.trigger_rule import AudioInput, ImageInput, PointInput
from modeldeed.errors import OptionError
from modeldeed.plugin.backgrounds import Backgrounds, background_root, background_rule
from modeldeed.plugin.backgrounds import backgrounds as module
from modeldeed.streams import derive
from tests.plugin.backgrounds.samples import (
    CASES,
    CLOUD,
    DIGIT,
    FORMS,
    KINDS,
    SEED,
    SMALL,
    SOUND,
    backgrounds_of,
    carriers_of,
    spread_indices,
)

MANY: list[tuple[BackgroundInput, BackgroundKind]] = [
    (form, kind) for form, kind in CASES if kind != "fixed"
]


def blank(form: BackgroundInput, count: int) -> Tensor:
    return torch.zeros_like(carriers_of(form, count))


def hidden(form: BackgroundInput, samples: Tensor, carriers: Tensor) -> Tensor:
    """What of the samples is background, by the definition of the placing."""
    if isinstance(form, ImageInput):
        frame = torch.ones(form.height, form.width, dtype=torch.bool)
        top, left = (max(1, (3 * size + 10) // 20) for size in (form.height, form.width))
        frame[top : form.height - top, left : form.width - left] = False
        return samples[:, :, frame]
    if isinstance(form, PointInput):
        return samples[:, 3::4]
    sound = carriers.int()
    peak = sound.abs().amax(dim=1, keepdim=True).clamp(min=2**10)
    return samples.int() - torch.div(sound * 2**14, peak, rounding_mode="floor")


# --- what a sample depends on ---


@pytest.mark.parametrize(("form", "kind"), CASES)
def test_a_sample_alone_is_that_of_any_batch(form: BackgroundInput, kind: BackgroundKind) -> None:
    backgrounds, rule = backgrounds_of(form, kind)
    carriers, indices = carriers_of(form, 5), spread_indices(5, rule)
    indices[4] = indices[0]  # one background under two carriers
    together = backgrounds.place(carriers, indices)
    fresh, _ = backgrounds_of(form, kind)
    for n in (4, 2, 0, 3, 1):
        alone = fresh.place(carriers[n : n + 1], indices[n : n + 1])
        assert torch.equal(alone[0], together[n])
    again = backgrounds.place(carriers.flip(0), indices.flip(0)).flip(0)
    assert torch.equal(again, together)


@pytest.mark.parametrize(("form", "kind"), CASES)
def test_placing_leaves_carriers_and_indices_alone(
    form: BackgroundInput, kind: BackgroundKind
) -> None:
    backgrounds, rule = backgrounds_of(form, kind)
    carriers, indices = carriers_of(form, 3), spread_indices(3, rule)
    kept = carriers.clone(), indices.clone()
    first = backgrounds.place(carriers, indices)
    saved = first.clone()
    first.zero_()  # nor does what is done with samples reach what is kept for the next ones
    assert torch.equal(backgrounds.place(carriers, indices), saved)
    assert torch.equal(carriers, kept[0])
    assert torch.equal(indices, kept[1])


@pytest.mark.parametrize(("form", "kind"), CASES)
def test_only_generated_backgrounds_follow_the_carrier(
    form: BackgroundInput, kind: BackgroundKind
) -> None:
    backgrounds, _ = backgrounds_of(form, kind)
    carriers = carriers_of(form, 8)
    if isinstance(form, PointInput):  # all of one mean and one reach
        carriers[:, 0::2], carriers[:, 1::2] = 2**14, -(2**14)
        turns = torch.randperm(form.points, generator=torch.Generator().manual_seed(0))
        carriers = torch.stack([carriers[0][turns.roll(n)] for n in range(8)])
    samples = backgrounds.place(carriers, torch.zeros(8, dtype=torch.int64))
    drawn = hidden(form, samples, carriers)
    different = len(torch.unique(drawn.flatten(1), dim=0))
    assert different == (8 if kind == "generated" else 1)


@pytest.mark.parametrize("form", FORMS)
def test_what_follows_the_carrier_follows_the_smallest_part_of_it(form: BackgroundInput) -> None:
    """One bit anywhere changes a generated background, also where the carrier is hidden."""
    backgrounds, _ = backgrounds_of(form, "generated")
    carriers = blank(form, 2)
    carriers[1].view(-1)[0] = 1
    samples = backgrounds.place(carriers, torch.zeros(2, dtype=torch.int64))
    changed = (hidden(form, samples, carriers).diff(dim=0) != 0).double().mean()
    assert changed > 0.25


@pytest.mark.parametrize(("form", "kind"), CASES)
def test_another_key_gives_other_backgrounds(form: BackgroundInput, kind: BackgroundKind) -> None:
    carriers = carriers_of(form, 4)
    placed = []
    for seed in (SEED, bytes(32)):
        backgrounds, rule = backgrounds_of(form, kind, seed)
        placed.append(backgrounds.place(carriers, spread_indices(4, rule)))
    assert (placed[0] != placed[1]).flatten(1).any(dim=1).all()


@pytest.mark.parametrize(("form", "kind"), MANY)
def test_no_two_backgrounds_are_alike(form: BackgroundInput, kind: BackgroundKind) -> None:
    backgrounds, rule = backgrounds_of(form, kind)
    samples = backgrounds.place(blank(form, rule.count), torch.arange(rule.count))
    assert len(torch.unique(samples.flatten(1), dim=0)) == rule.count


def test_every_background_has_a_key_of_its_own() -> None:
    backgrounds, rule = backgrounds_of(DIGIT, "multi")
    keys = backgrounds.keys(range(rule.count))
    assert len(set(keys.values())) == rule.count == 168
    assert keys[3] == derive(background_root(SEED, rule), "background", 3)


def test_another_rule_has_other_backgrounds() -> None:
    rules = [
        background_rule(DIGIT),
        background_rule(DIGIT, "generated"),
        background_rule(DIGIT, count=84),
        background_rule(SMALL),
    ]
    assert len({background_root(SEED, rule) for rule in rules}) == 4


# --- openings ---


@pytest.mark.parametrize(("form", "kind"), CASES)
def test_the_keys_of_some_give_the_same_samples(
    form: BackgroundInput, kind: BackgroundKind
) -> None:
    backgrounds, rule = backgrounds_of(form, kind)
    chosen = [0] if kind == "fixed" else [3, 167, 64]
    opened = Backgrounds.of_keys(backgrounds.keys(chosen), rule)
    assert opened.rule == rule
    carriers, indices = carriers_of(form, len(chosen)), torch.tensor(chosen)
    assert torch.equal(opened.place(carriers, indices), backgrounds.place(carriers, indices))
    assert opened.keys(chosen) == backgrounds.keys(chosen)


def test_what_was_not_opened_is_refused() -> None:
    backgrounds, rule = backgrounds_of(DIGIT, "multi")
    opened = Backgrounds.of_keys(backgrounds.keys([1, 2]), rule)
    with pytest.raises(OptionError, match=r"key of background 3 is not among the 2 known"):
        opened.place(carriers_of(DIGIT, 2), torch.tensor([1, 3]))
    with pytest.raises(OptionError, match="background 0 is not among"):
        opened.keys([0])


def test_a_wrong_key_opens_nothing() -> None:
    backgrounds, rule = backgrounds_of(DIGIT, "multi")
    keys = backgrounds.keys([5, 6])
    swapped = Backgrounds.of_keys({5: keys[6], 6: keys[5]}, rule)
    carriers = carriers_of(DIGIT, 1)
    own, other = (b.place(carriers, torch.tensor([5])) for b in (backgrounds, swapped))
    assert not torch.equal(own, other)
    assert torch.equal(other, backgrounds.place(carriers, torch.tensor([6])))


def test_no_text_shows_a_key() -> None:
    backgrounds, _ = backgrounds_of(DIGIT, "multi")
    key = next(iter(backgrounds.keys([0]).values()))
    assert repr(key) not in repr(backgrounds)
    assert key.hex() not in str(backgrounds)


# --- any form, and what is kept ---

IMAGES = st.builds(
    ImageInput, channels=st.integers(1, 5), height=st.integers(4, 70), width=st.integers(4, 70)
)
CLOUDS = st.builds(PointInput, points=st.integers(16, 300))
SOUNDS = st.builds(AudioInput, samples=st.integers(64, 6000))


@settings(max_examples=40, deadline=None)
@given(form=IMAGES | CLOUDS | SOUNDS, kind=st.sampled_from(KINDS), number=st.integers(0, 100))
def test_any_form_holds_content_and_background(
    form: BackgroundInput, kind: BackgroundKind, number: int
) -> None:
    backgrounds, rule = backgrounds_of(form, kind)
    carriers = carriers_of(form, 2, first=number)
    indices = torch.tensor([number, number + 1]) % rule.count
    samples = backgrounds.place(carriers, indices)
    assert samples.shape == carriers.shape
    assert samples.dtype == carriers.dtype
    assert not torch.equal(samples, carriers)
    without = backgrounds.place(torch.zeros_like(carriers), indices)
    assert not torch.equal(samples, without), "the content is gone"
    assert (without != 0).flatten(1).any(dim=1).all(), "the background is gone"


def test_the_extremes_of_images() -> None:
    for channels, height, width in ((64, 4, 4), (1, 4, 4096), (1, 4096, 5)):
        form = ImageInput(channels=channels, height=height, width=width)
        for kind in KINDS:
            backgrounds, _ = backgrounds_of(form, kind)
            samples = backgrounds.place(blank(form, 1), torch.tensor([0]))
            frame = hidden(form, samples, samples).double()
            assert (frame.std(dim=2) > 0).all(), "a channel is one color"


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    carriers, indices = carriers_of(SMALL, 168), torch.arange(168)
    free, _ = backgrounds_of(SMALL, "multi")
    expected = free.place(carriers, indices)
    assert len(free._decided) == 168
    monkeypatch.setattr(module, "CACHE_BYTES", 10 * math.prod(SMALL_SHAPE))
    bounded, _ = backgrounds_of(SMALL, "multi")
    for _ in range(2):
        assert torch.equal(bounded.place(carriers, indices), expected)
        assert len(bounded._decided) == 10
    recent = bounded.place(carriers[:3], indices[:3])
    assert torch.equal(recent, expected[:3])
    assert {0, 1, 2} <= set(bounded._decided)


SMALL_SHAPE = (3, 32, 32)


def test_copies_and_no_samples() -> None:
    backgrounds, _ = backgrounds_of(CLOUD, "generated")
    carriers, indices = carriers_of(CLOUD, 2), torch.tensor([0, 9])
    twin = copy.deepcopy(backgrounds)
    assert torch.equal(twin.place(carriers, indices), backgrounds.place(carriers, indices))
    assert backgrounds.place(carriers[:0], indices[:0]).shape == (0, 256, 3)


def test_carriers_need_not_lie_in_one_piece() -> None:
    backgrounds, _ = backgrounds_of(SMALL, "generated")
    carriers, indices = carriers_of(SMALL, 2), torch.tensor([0, 9])
    apart = carriers.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert torch.equal(backgrounds.place(apart, indices), backgrounds.place(carriers, indices))


# --- errors ---


@pytest.mark.parametrize(
    ("carriers", "message"),
    [
        (torch.zeros(2, 3, 32, 32), r"uint8 images \(N, C, H, W\), got dtype torch.float32"),
        (torch.zeros(2, 3, 32, 31, dtype=torch.uint8), r"\(N, 3, 32, 32\).* got \(2, 3, 32, 31\)"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), r"\(N, 3, 32, 32\).* got \(3, 32, 32\)"),
        (torch.tensor(0, dtype=torch.uint8), r"got \(\)"),
        ([[1]], r"a tensor of uint8 images .*, got \[\[1\]\]"),
    ],
)
def test_other_carriers_are_refused(carriers: Tensor, message: str) -> None:
    backgrounds, _ = backgrounds_of(SMALL, "multi")
    with pytest.raises(OptionError, match=message):
        backgrounds.place(carriers, torch.tensor([0, 1]))


@pytest.mark.parametrize("form", [CLOUD, SOUND])
def test_words_and_shape_are_those_of_the_form(form: BackgroundInput) -> None:
    backgrounds, _ = backgrounds_of(form, "multi")
    word = "clouds" if form is CLOUD else "sound"
    with pytest.raises(OptionError, match=f"int16 {word} .* got dtype torch.uint8"):
        backgrounds.place(carriers_of(SMALL, 1), torch.tensor([0]))
    size = r"\(N, 256, 3\)" if form is CLOUD else r"\(N, 4096\)"
    with pytest.raises(OptionError, match=size):
        backgrounds.place(carriers_of(form, 2)[:, 1:], torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        (torch.tensor([0, 168]), r"numbered 0 … 167, got 168"),
        (torch.tensor([-1, 0]), r"numbered 0 … 167, got -1"),
        (torch.tensor([0]), r"shape \(2,\), one for each carrier, got \(1,\)"),
        (torch.tensor([[0], [1]]), r"got \(2, 1\)"),
        (torch.tensor([0, 1], dtype=torch.int32), r"int64 tensor.* got torch.int32"),
        ([0, 1], r"int64 tensor.* got list"),
    ],
)
def test_other_indices_are_refused(indices: Tensor, message: str) -> None:
    backgrounds, _ = backgrounds_of(SMALL, "multi")
    with pytest.raises(OptionError, match=message):
        backgrounds.place(carriers_of(SMALL, 2), indices)


def test_other_keys_are_refused() -> None:
    rule = background_rule(DIGIT)
    with pytest.raises(OptionError, match="a key has 32 bytes, got 31"):
        Backgrounds(bytes(31), rule)
    with pytest.raises(OptionError, match="key of background 7 must have 32 bytes, got 33"):
        Backgrounds.of_keys({7: bytes(33)}, rule)
    with pytest.raises(OptionError, match="numbered 0 … 167, got 168"):
        Backgrounds.of_keys({168: bytes(32)}, rule)
    with pytest.raises(OptionError, match="numbered 0 … 167, got '7'"):
        Backgrounds.of_keys({"7": bytes(32)}, rule)  # type: ignore[dict-item]
    with pytest.raises(OptionError, match="numbered 0 … 167, got 168"):
        Backgrounds(bytes(32), rule).keys([168])
