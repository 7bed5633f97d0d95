"""Photos in class folders."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from modeldeed.data import image_folder
from modeldeed.errors import DataError, MissingExtraError, OptionError


def write_photo(path: Path, color: tuple[int, ...], size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for part in ("train", "test"):
        write_photo(tmp_path / part / "red" / "b.png", (255, 0, 0))
        write_photo(tmp_path / part / "red" / "a.PNG", (128, 0, 0))
        write_photo(tmp_path / part / "blue" / "c.bmp", (0, 0, 255), (12, 6))
    (tmp_path / "train" / "red" / "notes.txt").write_text("no image")
    (tmp_path / "train" / ".cache").mkdir()
    return tmp_path


def test_labels_follow_sorted_class_names_and_files_their_names(photos: Path) -> None:
    dataset = image_folder(photos, 4)
    assert dataset.classes == ("blue", "red")
    assert dataset.y_train.tolist() == [0, 1, 1]
    assert dataset.x_train.shape == (3, 3, 4, 4)
    corner = (dataset.x_train[:, :, 0, 0] * 255).round().int()
    assert corner.tolist() == [[0, 0, 255], [128, 0, 0], [255, 0, 0]]
    assert dataset.name == photos.name


def test_val_stands_in_for_test(photos: Path) -> None:
    (photos / "test").rename(photos / "val")
    assert len(image_folder(photos, 4).y_test) == 3


@pytest.mark.parametrize("wide", [True, False])
def test_the_central_square_is_taken(photos: Path, wide: bool) -> None:
    # A white center between black sides; only the center may be seen.
    pixels = np.zeros((6, 18), np.uint8)
    pixels[:, 6:12] = 255
    picture = Image.fromarray(pixels if wide else pixels.T)
    picture.save(photos / "train" / "blue" / "c.png")
    (photos / "train" / "blue" / "c.bmp").unlink()
    assert image_folder(photos, 6).x_train[0].unique().tolist() == [1.0]


def test_shrinking_averages(photos: Path) -> None:
    checkers = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(checkers).save(photos / "test" / "blue" / "c.bmp")
    small = image_folder(photos, 4).x_test[0]
    assert (small - 0.5).abs().max() < 0.05


def test_gray_and_palette_images_become_rgb(photos: Path) -> None:
    Image.new("L", (5, 5), 51).save(photos / "train" / "red" / "a.PNG")
    Image.new("P", (5, 5)).save(photos / "train" / "red" / "b.png")
    dataset = image_folder(photos, 5)
    torch.testing.assert_close(dataset.x_train[1], torch.full((3, 5, 5), 0.2))


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"])
def test_an_unreadable_image_is_named(photos: Path, content: bytes) -> None:
    (photos / "test" / "red" / "b.png").write_bytes(content)
    with pytest.raises(DataError, match=r"b\.png: is no readable image"):
        image_folder(photos, 4)


def test_a_truncated_image_is_named(photos: Path) -> None:
    path = photos / "train" / "red" / "b.png"
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"b\.png: is no readable image"):
        image_folder(photos, 4)


def test_a_decompression_bomb_is_refused(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(DataError, match="decompression bomb"):
        image_folder(photos, 4)


def test_size_must_be_positive(photos: Path) -> None:
    with pytest.raises(OptionError, match="size: got 0"):
        image_folder(photos, 0)


def test_missing_root(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist"):
        image_folder(tmp_path / "nowhere", 4)


def test_missing_pillow_is_named_with_its_extra(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtraError, match=r"pillow.*modeldeed\[data\]"):
        image_folder(photos, 4)
