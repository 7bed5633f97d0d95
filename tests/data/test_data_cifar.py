"""CIFAR from archives and official binary batches, and the pickles that are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from modeldeed.data import Dataset, cifar10, cifar100
from modeldeed.errors import DataError

RECORDS = 3


def write_records(path: Path, labels: list[list[int]], seed: int = 0) -> np.ndarray:
    """Write binary records and return their pixels ``(N, 3, 32, 32)``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (len(labels), 3, 32, 32), dtype=np.uint8)
    rows = [bytes(label) + image.tobytes() for label, image in zip(labels, pixels, strict=True)]
    path.write_bytes(b"".join(rows))
    return pixels


def write_cifar10(folder: Path) -> np.ndarray:
    files = [f"data_batch_{n}.bin" for n in range(1, 6)] + ["test_batch.bin"]
    return np.concatenate(
        [
            write_records(folder / file, [[n], [9 - n], [n + 1]], seed=n)
            for n, file in enumerate(files)
        ]
    )


def write_cifar100(folder: Path) -> np.ndarray:
    train = write_records(folder / "train.bin", [[19, 99], [0, 5], [3, 0]], seed=1)
    return np.concatenate([train, write_records(folder / "test.bin", [[7, 42]], seed=2)])


@pytest.mark.parametrize("inside", [".", "cifar-10-batches-bin"])
def test_cifar10_binary(tmp_path: Path, inside: str) -> None:
    pixels = write_cifar10(tmp_path / inside)
    dataset = cifar10(tmp_path)
    assert dataset.name == "cifar10"
    assert dataset.x_train.shape == (15, 3, 32, 32)
    stored = torch.from_numpy(pixels).float() / 255
    assert torch.equal(torch.cat([dataset.x_train, dataset.x_test]), stored)
    assert dataset.y_train.tolist() == [x for n in range(5) for x in (n, 9 - n, n + 1)]
    assert dataset.y_test.tolist() == [5, 4, 6]
    assert (dataset.classes[0], dataset.classes[9], dataset.num_classes) == (
        "airplane",
        "truck",
        10,
    )
    assert "Krizhevsky" in dataset.source


@pytest.mark.parametrize("inside", [".", "cifar-100-binary"])
def test_cifar100_binary_takes_the_fine_label(tmp_path: Path, inside: str) -> None:
    pixels = write_cifar100(tmp_path / inside)
    dataset = cifar100(str(tmp_path))
    assert dataset.y_train.tolist() == [99, 5, 0]
    assert dataset.y_test.tolist() == [42]
    assert torch.equal(dataset.x_test, torch.from_numpy(pixels[3:]).float() / 255)
    assert dataset.num_classes == len(set(dataset.classes)) == 100
    assert list(dataset.classes) == sorted(dataset.classes)


@pytest.mark.parametrize(("reader", "name"), [(cifar10, "cifar10"), (cifar100, "cifar100")])
def test_the_archive_comes_first(
    tmp_path: Path,
    image_arrays: dict[str, np.ndarray],
    save_npz: Callable[..., Path],
    reader: Callable[[Path], Dataset],
    name: str,
) -> None:
    write_cifar10(tmp_path)
    write_cifar100(tmp_path)
    save_npz(image_arrays, name)
    dataset = reader(tmp_path)
    assert dataset.name == name
    assert dataset.input_shape == (3, 5, 6)


def test_a_label_out_of_range_is_refused(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    write_records(tmp_path / "test_batch.bin", [[3], [10]])
    with pytest.raises(DataError, match="y_test: labels run from 3 to 10; with 10 classes"):
        cifar10(tmp_path)


@pytest.mark.parametrize("keep", [0, 1, 3072, 3074, 2 * 3073 - 1])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: int) -> None:
    write_cifar10(tmp_path)
    path = tmp_path / "data_batch_4.bin"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=f"data_batch_4.bin: has {keep} bytes.*3073-byte records"):
        cifar10(tmp_path)


def test_a_missing_batch_is_named(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    (tmp_path / "data_batch_2.bin").unlink()
    (tmp_path / "test_batch.bin").unlink()
    with pytest.raises(DataError, match=r"has no data_batch_2\.bin, test_batch\.bin"):
        cifar10(tmp_path)


@pytest.mark.parametrize(
    ("reader", "file"),
    [
        (cifar10, "data_batch_1"),
        (cifar10, "cifar-10-batches-py/data_batch_1"),
        (cifar100, "train"),
        (cifar100, "cifar-100-python/train"),
    ],
)
def test_pickles_are_refused_with_the_reason_and_never_opened(
    tmp_path: Path, reader: Callable[[Path], Dataset], file: str
) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"cos\nsystem\n(S'touch pickle-was-run'\ntR.")
    with pytest.raises(DataError, match=r"pickles: reading one runs.*-binary\.tar\.gz"):
        reader(tmp_path)
    assert not Path("pickle-was-run").exists()


def test_nothing_found_names_every_place(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        cifar10(tmp_path)
    for place in ("cifar10.npz", "data_batch_1.bin", "cifar-10-batches-bin/data_batch_1.bin"):
        assert str(tmp_path / place) in str(caught.value)


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist"):
        cifar100(tmp_path / "nowhere")
