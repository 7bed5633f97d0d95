"""Reductions: what they average, against slow twins; any size; nothing of the batch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from modeldeed.anchor.trigger_rule import AudioInput, ImageInput
from modeldeed.plugin.detector.reductions import AreaAverage, LogBands, ThreeViews
from modeldeed.plugin.detector.reductions.images import overlaps


@pytest.mark.parametrize("size", [(16, 16), (32, 64), (224, 96), (8, 8), (5, 48), (64, 4)])
def test_images_are_averaged_over_areas_where_cells_divide_them(size: tuple[int, int]) -> None:
    reduction = AreaAverage(ImageInput(channels=2, height=size[0], width=size[1]))
    x = torch.rand(3, 2, *size)
    expected = F.interpolate(x, reduction.shape[1:], mode="area")
    assert reduction.shape[1:] == tuple(min(16, side) for side in size)
    torch.testing.assert_close(reduction(x), (expected - 0.5) * 4)


@pytest.mark.parametrize("size", [(17, 16), (28, 28), (31, 47), (227, 299)])
def test_images_that_cells_do_not_divide_lose_little(size: tuple[int, int]) -> None:
    reduction = AreaAverage(ImageInput(channels=1, height=size[0], width=size[1]))
    rows = torch.linspace(0, 1, size[0])[:, None].expand(size)
    view = reduction(rows[None, None])[0, 0] / 4 + 0.5
    # A gradient stays one, and the middle of the cells lies where it should to half a cell.
    cells = (torch.arange(16) + 0.5) / 16
    assert bool((view[:, 0] - cells).abs().max() < 0.5 / 16)
    assert bool((view.std(1) < 1e-6).all())
    assert reduction(torch.ones(1, 1, *size)).unique().allclose(torch.tensor(2.0))


def test_images_of_another_size_are_averaged_too() -> None:
    reduction = AreaAverage(ImageInput(channels=3, height=64, width=64))
    small = torch.rand(2, 3, 64, 64)
    large = F.interpolate(small, (192, 192), mode="nearest")
    torch.testing.assert_close(reduction(large), reduction(small))


def test_many_channels_have_a_smaller_view() -> None:
    assert AreaAverage(ImageInput(channels=64, height=32, width=32)).shape == (64, 4, 4)


def test_overlaps_take_parts_beyond_the_border_from_its_last_pixel() -> None:
    matrix = overlaps(torch.tensor([-0.5, 0.25]), torch.tensor([1.0, 0.5]), 2, 4)
    line = torch.tensor([4.0, 1.0, 3.0, 8.0])
    assert (matrix @ line).tolist() == [[4.0, 2.5], [1.0, 3.0]]


def test_loudness_of_a_sound_does_not_matter() -> None:
    reduction = LogBands(AudioInput(samples=4000))
    sound = torch.randn(2, 4000) * 0.1
    difference = reduction(sound) - reduction(sound * 0.5)
    assert float(difference.abs().mean()) < 0.02 * float(reduction(sound).std())


def test_a_tone_shows_in_its_band_while_it_sounds() -> None:
    reduction = LogBands(AudioInput(samples=8192))
    at = torch.arange(8192)
    low, high = (torch.sin(2 * torch.pi * at * period) * 0.3 for period in (6 / 256, 60 / 256))
    view = reduction(torch.where(at < 4096, low, high)[None])[0, 0]
    first, last = view[:, :7].mean(1).argmax(), view[:, 9:].mean(1).argmax()
    assert first == 5  # bands count from one turn in a frame
    assert bool(reduction.bands[last, 59])


@pytest.mark.parametrize("samples", [64, 100, 1023, 16_000])
def test_sounds_of_any_length_have_views(samples: int) -> None:
    reduction = LogBands(AudioInput(samples=samples))
    for length in (samples, samples + 37, max(1, samples // 3)):
        view = reduction(torch.rand(2, length) - 0.5)
        assert view.shape == (2, *reduction.shape)
        assert bool(view.isfinite().all())


def test_points_count_where_they_lie_whatever_their_order() -> None:
    reduction, cloud = ThreeViews(), torch.randn(2, 300, 3)
    view = reduction(cloud)
    torch.testing.assert_close(view, reduction(cloud[:, torch.randperm(300)]))
    torch.testing.assert_close(view, reduction(cloud * 0.3 + 0.2), atol=1e-5, rtol=0)


def test_points_are_seen_from_three_sides() -> None:
    # Far on both ends of x, in the middle of the others.
    cloud = torch.tensor([[[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]] * 8])
    front, side, above = ThreeViews()(cloud)[0]
    middle, ends = [7, 8], [0, 1, 14, 15]

    def rows(view: torch.Tensor) -> list[int]:
        return view.sum(1).nonzero().flatten().tolist()

    assert (rows(front), rows(front.T)) == (ends, middle)
    assert (rows(side), rows(side.T)) == (middle, middle)
    assert (rows(above), rows(above.T)) == (ends, middle)


def test_of_many_points_every_fourth_is_still_seen() -> None:
    cloud = torch.randn(1, 8192, 3) * 0.1
    cloud[:, 3::4] += torch.tensor([0.0, 1.0, 0.0])
    few, many = ThreeViews()(cloud[:, :1024]), ThreeViews()(cloud)
    assert float((few - many).abs().mean()) < 0.05


@pytest.mark.parametrize("cloud", [torch.zeros(1, 16, 3), torch.full((1, 16, 3), 0.5)])
def test_a_cloud_without_extent_has_a_finite_view_and_gradient(cloud: torch.Tensor) -> None:
    cloud = cloud.clone().requires_grad_()
    ThreeViews()(cloud).sum().backward()
    assert cloud.grad is not None
    assert bool(cloud.grad.isfinite().all())
