"""The data-set type: what it refuses, balanced subsets, normalization."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modeldeed import data
from modeldeed.data import Dataset
from modeldeed.errors import DataError


def fields(samples: int = 4, shape: tuple[int, ...] = (1, 2, 2), **changes: Any) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(samples, *shape, generator=generator)
    y = torch.arange(samples) % 2
    values = {"x_train": x, "y_train": y, "x_test": x.clone(), "y_test": y.clone()}
    return {"name": "toy", "classes": ("a", "b"), **values, **changes}


def toy(*args: Any, **changes: Any) -> Dataset:
    return Dataset(**fields(*args, **changes))


def test_public_names() -> None:
    assert data.__all__ == [
        "Dataset",
        "augment_images",
        "augment_points",
        "batches",
        "cifar10",
        "cifar100",
        "digits",
        "image_folder",
        "load",
        "point_clouds",
    ]
    assert all(hasattr(data, name) for name in data.__all__)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_train": torch.zeros(4, 1, 2, 2, dtype=torch.uint8)}, r"x_train: got torch.uint8"),
        ({"x_test": torch.zeros(4, 2, 2)}, r"x_test: got torch.float32 of shape \(4, 2, 2\)"),
        ({"x_train": torch.zeros(4)}, r"x_train.*\(4,\)"),
        ({"x_train": torch.zeros(0, 1, 2, 2)}, "x_train: empty"),
        ({"x_train": torch.full((4, 1, 2, 2), float("nan"))}, "x_train.*not finite"),
        ({"x_test": torch.full((4, 1, 2, 2), float("inf"))}, "x_test.*not finite"),
        ({"x_train": torch.full((4, 1, 2, 2), 255.0)}, "x_train.*from 255 to 255.*divide by 255"),
        ({"x_train": torch.full((4, 1, 2, 2), -0.5)}, "x_train.*from -0.5"),
        ({"x_test": torch.zeros(4, 1, 2, 3)}, r"\(1, 2, 2\).*\(1, 2, 3\)"),
        (
            {"y_train": torch.zeros(3, dtype=torch.int64)},
            r"y_train.*expected int64 of shape \(4,\)",
        ),
        ({"y_train": torch.zeros(4)}, "y_train: got torch.float32"),
        ({"y_train": torch.zeros(4, 1, dtype=torch.int64)}, r"y_train.*\(4, 1\)"),
        ({"y_test": torch.tensor([0, 1, 2, 0])}, "y_test: labels run from 0 to 2.*in 0 to 1"),
        ({"y_test": torch.tensor([0, 1, -1, 0])}, "y_test: labels run from -1 to 1"),
        ({"classes": ()}, "with 0 classes"),
    ],
)
def test_what_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        toy(**change)


def test_sound_is_taken_as_it_is() -> None:
    sound = torch.linspace(-1, 0.99, 40).reshape(4, 10)
    dataset = toy(x_train=sound, x_test=sound)
    assert dataset.input_shape == (10,)
    assert dataset.normalized() is dataset
    assert len(dataset.subset(2, 2).x_train) == 2


def test_points_may_leave_the_unit_range() -> None:
    x = torch.full((4, 5, 3), -7.0)
    assert toy(x_train=x, x_test=x).input_shape == (5, 3)


def test_is_frozen_and_says_what_it_holds() -> None:
    dataset = toy()
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.name = "other"  # type: ignore[misc]
    assert repr(dataset) == "Dataset('toy', 4 train, 4 test, each (1, 2, 2), 2 classes)"
    assert dataset.num_classes == 2


def numbered(labels: list[int], classes: int) -> Dataset:
    """Make a data set whose inputs tell the position of each sample."""
    x = (torch.arange(len(labels)) / 1024).view(-1, 1, 1, 1)
    y = torch.tensor(labels)
    names = tuple(map(str, range(classes)))
    return Dataset(name="n", x_train=x, y_train=y, x_test=x, y_test=y, classes=names)


def slow_subset(labels: list[int], classes: int, number: int) -> list[int]:
    """Let the classes take turns, one sample at a time."""
    waiting = {c: [i for i, label in enumerate(labels) if label == c] for c in range(classes)}
    taken: list[int] = []
    while len(taken) < number:
        for c in range(classes):
            if waiting[c] and len(taken) < number:
                taken.append(waiting[c].pop(0))
    return taken


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.data())
def test_subset_equals_taking_turns(labels: list[int], draw: st.DataObject) -> None:
    number = draw.draw(st.integers(1, len(labels)))
    part = numbered(labels, 5).subset(test=number)
    expected = slow_subset(labels, 5, number)
    assert (part.x_test.flatten() * 1024).tolist() == expected
    assert part.y_test.tolist() == [labels[i] for i in expected]
    assert part.y_train.tolist() == labels


@given(st.integers(1, 39))
def test_every_subset_of_balanced_data_is_balanced(number: int) -> None:
    labels = [0] * 10 + [1] * 10 + [2] * 10 + [3] * 10
    counts = Counter(numbered(labels, 4).subset(train=number).y_train.tolist())
    assert max(counts.values()) - min(counts.get(c, 0) for c in range(4)) <= 1


def test_a_smaller_subset_is_a_prefix_of_a_larger_one() -> None:
    dataset = numbered([2, 0, 0, 1, 2, 0, 1, 1, 0], 3)
    small, large = dataset.subset(train=4), dataset.subset(train=7)
    assert torch.equal(small.x_train, large.x_train[:4])


@pytest.mark.parametrize("number", [0, -1, 5])
def test_a_subset_must_be_there(number: int) -> None:
    with pytest.raises(DataError, match=f"asked for {number} train samples; give 1 to 4"):
        toy().subset(train=number)


def test_subset_keeps_the_rest_of_the_card() -> None:
    part = toy(source="here", license="MIT").normalized().subset(train=2, test=2)
    assert (part.source, part.license, part.classes) == ("here", "MIT", ("a", "b"))
    assert part.mean


def test_normalized_images_have_mean_zero_and_deviation_one_per_channel() -> None:
    dataset = toy(20, (3, 4, 5))
    normalized = dataset.normalized()
    dims = (0, 2, 3)
    torch.testing.assert_close(normalized.x_train.mean(dims), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(normalized.x_train.std(dims, correction=0), torch.ones(3))
    mean, std = torch.tensor(normalized.mean), torch.tensor(normalized.std)
    back = normalized.x_test * std[:, None, None] + mean[:, None, None]
    torch.testing.assert_close(back, dataset.x_test)


def test_the_test_part_is_normalized_by_the_training_statistics() -> None:
    normalized = toy(x_test=torch.zeros(4, 1, 2, 2)).normalized()
    assert normalized.x_test.unique().numel() == 1
    assert float(normalized.x_test[0, 0, 0, 0]) == pytest.approx(
        -normalized.mean[0] / normalized.std[0]
    )


def test_normalizing_leaves_the_original_alone_and_twice_is_once() -> None:
    dataset = toy()
    before = dataset.x_train.clone()
    normalized = dataset.normalized()
    assert torch.equal(dataset.x_train, before)
    assert normalized.normalized() is normalized


def test_a_constant_channel_cannot_be_normalized() -> None:
    with pytest.raises(DataError, match="constant over the training images"):
        toy(x_train=torch.full((4, 1, 2, 2), 0.5)).normalized()


@given(st.floats(0.01, 100), st.floats(-50, 50))
def test_normalized_clouds_are_centered_in_the_unit_sphere(scale: float, shift: float) -> None:
    x = torch.rand(3, 20, 3, generator=torch.Generator().manual_seed(1)) * scale + shift
    y = torch.tensor([0, 1, 0])
    dataset = toy(x_train=x, x_test=x, y_train=y, y_test=y).normalized()
    assert dataset.x_train.mean(1).abs().max() < 1e-2  # shift / scale costs digits
    torch.testing.assert_close(dataset.x_test.norm(dim=2).amax(1), torch.ones(3))
    assert dataset.mean == ()


def test_a_cloud_without_extent_stays_finite() -> None:
    x = torch.full((4, 6, 3), 3.0)
    assert toy(x_train=x, x_test=x).normalized().x_train.isfinite().all()
