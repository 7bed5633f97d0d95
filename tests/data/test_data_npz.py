"""Archives: what is read from them, and that nothing else ever comes out of a bad one."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modeldeed.data import load
from modeldeed.data._npz import read_npz
from modeldeed.errors import DataError

Arrays = dict[str, Any]
Save = Callable[..., Path]


def test_images_become_channels_first_floats(image_arrays: Arrays, save_npz: Save) -> None:
    dataset = read_npz(save_npz(image_arrays))
    assert dataset.x_train.shape == (6, 3, 5, 6)
    assert dataset.x_train.is_contiguous()
    expected = image_arrays["x_train"][4, 2, 1, 0] / 255
    assert float(dataset.x_train[4, 0, 2, 1]) == pytest.approx(expected)
    assert dataset.y_train.tolist() == [0, 1, 1, 0, 0, 1]
    assert (dataset.name, dataset.classes) == ("toy", ("0", "1"))
    assert (dataset.source, dataset.license) == ("", "")


def test_gray_images_get_one_channel(image_arrays: Arrays, save_npz: Save) -> None:
    gray = {k: v[..., 0] for k, v in image_arrays.items() if k.startswith("x")}
    assert read_npz(save_npz(image_arrays, **gray)).x_test.shape == (4, 1, 5, 6)


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", ">f4"])
def test_points_become_native_float32(point_arrays: Arrays, save_npz: Save, kind: str) -> None:
    stored = {k: v.astype(kind) for k, v in point_arrays.items() if k.startswith("x")}
    dataset = read_npz(save_npz(point_arrays, **stored))
    assert dataset.x_train.dtype == torch.float32
    expected = torch.from_numpy(stored["x_train"].astype(np.float32))
    assert torch.equal(dataset.x_train, expected)


@pytest.mark.parametrize("kind", ["u1", "i2", ">i4", "u8"])
def test_labels_of_any_integer_type(image_arrays: Arrays, save_npz: Save, kind: str) -> None:
    y = image_arrays["y_train"].astype(kind)
    assert read_npz(save_npz(image_arrays, y_train=y)).y_train.tolist() == [0, 1, 1, 0, 0, 1]
    assert read_npz(save_npz(image_arrays, y_train=y[:, None])).y_train.dtype == torch.int64


def test_stored_class_names_are_used(image_arrays: Arrays, save_npz: Save) -> None:
    dataset = read_npz(save_npz(image_arrays, classes=np.array(["cat", "dog", "eel"])))
    assert dataset.classes == ("cat", "dog", "eel")


def test_a_known_name_brings_its_card(point_arrays: Arrays, save_npz: Save) -> None:
    dataset = read_npz(save_npz(point_arrays, "ldraw-parts"))
    assert (dataset.num_classes, dataset.classes[17]) == (20, "wheel")
    assert dataset.license == "CC BY 2.0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_test": None}, "has no y_test; an archive needs x_train"),
        ({"x_train": np.zeros((6, 3, 32, 32), np.uint8)}, "x_train.*channels last"),
        ({"x_train": np.zeros((6, 5, 6, 3))}, r"x_train: got float64 of shape \(6, 5, 6, 3\)"),
        ({"x_train": np.zeros((6, 8, 2))}, r"x_train: got float64 of shape \(6, 8, 2\)"),
        ({"x_train": np.zeros((5, 5, 6, 3), np.uint8)}, r"y_train.*expected int64 of shape \(5,\)"),
        ({"x_test": np.zeros((4, 6, 6, 3), np.uint8)}, r"\(3, 5, 6\).*\(3, 6, 6\)"),
        ({"x_test": np.zeros((0, 5, 6, 3), np.uint8), "y_test": np.zeros(0, int)}, "x_test: empty"),
        ({"y_train": np.zeros(6)}, "y_train: got float64"),
        ({"y_train": np.zeros(6, bool)}, "y_train: got bool"),
        ({"y_train": np.zeros((6, 2), int)}, r"y_train: got int64 of shape \(6, 2\)"),
        ({"y_test": np.array([0, 1, 2, 0])}, "y_test: labels run from 0 to 2"),
        ({"y_train": np.array([0, 1, 1, 0, 0, -1])}, "y_train: labels run from -1"),
        ({"y_train": np.array([0, 1, 1, 0, 0, 10**12])}, "largest label is 1000000000000"),
        ({"y_train": np.array([0, 1, 1, 0, 0, 2**63], np.uint64)}, "labels run from -9223"),
    ],
)
def test_malformed_arrays(
    image_arrays: Arrays, save_npz: Save, change: Arrays, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_npz(save_npz(image_arrays, **change))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_points_must_be_finite_in_float32(
    point_arrays: Arrays, save_npz: Save, value: float
) -> None:
    x = point_arrays["x_train"].astype(np.float64)
    x[2, 3, 1] = value
    with pytest.raises(DataError, match="x_train: has values that are not finite"):
        read_npz(save_npz(point_arrays, x_train=x))


def test_pickled_objects_are_refused(image_arrays: Arrays, save_npz: Save) -> None:
    with pytest.raises(DataError, match="allow_pickle"):
        read_npz(save_npz(image_arrays, y_train=np.array([0, 1, "x", None, 0, 1], object)))


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04K\x01.", npy(np.zeros(3))])
def test_files_of_another_kind(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"is not an \.npz archive"):
        read_npz(path)


def test_a_member_that_is_no_array(tmp_path: Path) -> None:
    path = tmp_path / "text.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("x_train", "y_train", "x_test", "y_test"):
            archive.writestr(f"{name}.npy", "not an array")
    with pytest.raises(DataError, match="x_train is no array"):
        read_npz(path)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(draw=st.data())
def test_a_damaged_archive_is_refused_or_reads_the_same(
    point_arrays: Arrays, save_npz: Save, draw: st.DataObject
) -> None:
    path = save_npz(point_arrays)
    original, content = read_npz(path), bytearray(path.read_bytes())
    if draw.draw(st.booleans()):
        del content[draw.draw(st.integers(0, len(content) - 1)) :]
    else:
        content[draw.draw(st.integers(0, len(content) - 1))] ^= draw.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        # The checksums of the archive catch altered arrays; the rest is padding or dates.
        damaged = load(str(path))
    except DataError:
        return
    assert torch.equal(damaged.x_train, original.x_train)
    assert torch.equal(damaged.y_test, original.y_test)
