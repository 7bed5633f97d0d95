"""Augmentation against slow twins, and its laws."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from modeldeed.data import augment_images, augment_points
from modeldeed.errors import OptionError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def all_variants(image: Tensor, pad: int, flip: bool) -> dict[tuple[int, int, bool], Tensor]:
    """Return every crop of the padded image and its mirror image, cut out one by one."""
    _, h, w = image.shape
    padded = F.pad(image, (pad, pad, pad, pad))
    variants = {}
    for top in range(2 * pad + 1):
        for left in range(2 * pad + 1):
            crop = padded[:, top : top + h, left : left + w]
            variants[top, left, False] = crop
            if flip:
                variants[top, left, True] = crop.flip(-1)
    return variants


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(*[st.integers(1, n) for n in (4, 3, 6, 7)]),
    pad=st.integers(0, 3),
    flip=st.booleans(),
)
def test_every_result_is_a_crop_or_its_mirror_image(
    seed: int, shape: tuple[int, ...], pad: int, flip: bool
) -> None:
    x = torch.rand(shape, generator=seeded(seed))
    before = x.clone()
    y = augment_images(x, seeded(seed), pad=pad, flip=flip)
    assert y.shape == x.shape
    assert torch.equal(x, before)
    for image, result in zip(x, y, strict=True):
        variants = all_variants(image, pad, flip)
        assert any(torch.equal(result, variant) for variant in variants.values())


def test_shifts_and_flips_are_uniform() -> None:
    image = torch.rand(1, 6, 6, generator=seeded())
    results = augment_images(image.expand(9000, 1, 6, 6), seeded(1), pad=1)
    counts = [
        int((results == v).flatten(1).all(1).sum()) for v in all_variants(image, 1, True).values()
    ]
    assert len(counts) == 18
    assert sum(counts) == 9000
    assert stats.chisquare(counts).pvalue > 1e-4


def test_neither_shift_nor_flip_is_the_identity() -> None:
    x = torch.rand(3, 2, 5, 4, generator=seeded())
    assert torch.equal(augment_images(x, seeded(), pad=0, flip=False), x)


def test_images_keep_their_type_and_memory_format_does_not_matter() -> None:
    x = torch.rand(4, 3, 8, 8, generator=seeded())
    plain = augment_images(x, seeded(5))
    last = augment_images(x.contiguous(memory_format=torch.channels_last), seeded(5))
    assert torch.equal(plain, last)
    assert augment_images(x.to(torch.bfloat16), seeded(5)).dtype == torch.bfloat16


@pytest.mark.parametrize("augment", [augment_images, augment_points])
def test_the_generator_decides_everything(augment: object) -> None:
    shape = (5, 3, 8, 8) if augment is augment_images else (5, 8, 3)
    x = torch.rand(shape, generator=seeded())
    assert torch.equal(augment(x, seeded(7)), augment(x, seeded(7)))
    assert not torch.equal(augment(x, seeded(7)), augment(x, seeded(8)))
    generator = seeded(7)
    assert not torch.equal(augment(x, generator), augment(x, generator))


@pytest.mark.parametrize(
    ("x", "pad", "message"),
    [(torch.zeros(1, 1, 2, 2), -1, "pad: got -1"), (torch.zeros(1, 2, 2), 1, r"\(1, 2, 2\)")],
)
def test_images_that_cannot_be_augmented(x: Tensor, pad: int, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        augment_images(x, seeded(), pad=pad)


@given(st.integers(0, 2**32 - 1))
def test_rotation_is_about_the_y_axis(seed: int) -> None:
    x = torch.randn(3, 10, 3, generator=seeded(), dtype=torch.float64)
    y = augment_points(x, seeded(seed), jitter=0, scale=(1, 1))
    torch.testing.assert_close(y[..., 1], x[..., 1])
    torch.testing.assert_close(torch.cdist(y, y), torch.cdist(x, x), atol=1e-6, rtol=1e-6)
    signed_volume = torch.linalg.det(y[:, :3]), torch.linalg.det(x[:, :3])
    torch.testing.assert_close(*signed_volume, atol=1e-6, rtol=1e-6)  # no reflection


def test_angles_are_uniform_over_the_full_circle() -> None:
    x = torch.tensor([1.0, 0.0, 0.0]).expand(3000, 1, 3)
    y = augment_points(x, seeded(), jitter=0, scale=(1, 1))[:, 0]
    turns = torch.atan2(y[:, 2], y[:, 0]) / (2 * math.pi) + 0.5
    assert stats.kstest(turns.numpy(), "uniform").pvalue > 1e-4


def test_one_factor_for_each_cloud_inside_the_range() -> None:
    x = torch.randn(500, 4, 3, generator=seeded())
    y = augment_points(x, seeded(), rotate=False, jitter=0, scale=(0.5, 2))
    factors = (y / x).flatten(1)
    torch.testing.assert_close(factors, factors[:, :1].expand_as(factors))
    assert stats.kstest((factors[:, 0].numpy() - 0.5) / 1.5, "uniform").pvalue > 1e-4


def test_jitter_is_normal_and_cut() -> None:
    x = torch.zeros(50, 200, 3)
    noise = augment_points(x, seeded(), rotate=False, jitter=0.02, scale=(1, 1))
    assert noise.abs().max() <= 0.1
    assert stats.kstest(noise.flatten().numpy() / 0.02, "norm").pvalue > 1e-4


def test_all_switched_off_is_the_identity() -> None:
    x = torch.randn(3, 5, 3, generator=seeded())
    assert torch.equal(augment_points(x, seeded(), rotate=False, jitter=0, scale=(1, 1)), x)


@pytest.mark.parametrize(
    ("x", "options"),
    [
        (torch.zeros(2, 3, 5), {}),
        (torch.zeros(5, 3), {}),
        (torch.zeros(2, 5, 3), {"jitter": -0.1}),
        (torch.zeros(2, 5, 3), {"scale": (0.0, 1.0)}),
        (torch.zeros(2, 5, 3), {"scale": (1.2, 0.8)}),
    ],
)
def test_points_that_cannot_be_augmented(x: Tensor, options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        augment_points(x, seeded(), **options)
