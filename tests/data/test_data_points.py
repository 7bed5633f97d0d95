"""Point clouds from archives, HDF5 files and class folders of meshes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from modeldeed.data import point_clouds
from modeldeed.errors import DataError, MissingExtraError, OptionError

Arrays = dict[str, Any]
Save = Callable[..., Path]

PYRAMID = "OFF\n4 4 0\n0 0 0\n{s} 0 0\n0 {s} 0\n0 0 {s}\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n"


def write_h5(path: Path, clouds: int, points: int = 8, seed: int = 0, **changes: Any) -> np.ndarray:
    data = np.random.default_rng(seed).normal(size=(clouds, points, 3)).astype(np.float32)
    label = (np.arange(clouds) % 3).astype(np.uint8)[:, None]
    with h5py.File(path, "w") as file:
        for key, value in {"data": data, "label": label, **changes}.items():
            if value is not None:
                file[key] = value
    return data


def write_meshes(root: Path, layout: str = "{part}/{name}") -> None:
    for name, number in (("cone", 2), ("box", 3)):
        for part in ("train", "test"):
            folder = root / layout.format(part=part, name=name)
            folder.mkdir(parents=True)
            for i in range(number):
                (folder / f"{name}_{i}.off").write_text(PYRAMID.format(s=i + 1))


def test_archive_as_stored(point_arrays: Arrays, save_npz: Save) -> None:
    dataset = point_clouds(save_npz(point_arrays))
    assert np.array_equal(dataset.x_train.numpy(), point_arrays["x_train"])
    assert dataset.classes == ("0", "1", "2")


def test_stored_clouds_give_their_first_points(point_arrays: Arrays, save_npz: Save) -> None:
    dataset = point_clouds(save_npz(point_arrays), points=5)
    assert dataset.input_shape == (5, 3)
    assert np.array_equal(dataset.x_test.numpy(), point_arrays["x_test"][:, :5])


def test_more_points_than_stored(point_arrays: Arrays, save_npz: Save) -> None:
    with pytest.raises(DataError, match="asked for 9 points a cloud; only 8 are stored"):
        point_clouds(save_npz(point_arrays), points=9)


def test_images_are_no_point_clouds(image_arrays: Arrays, save_npz: Save) -> None:
    with pytest.raises(DataError, match=r"holds images \(3, 5, 6\)"):
        point_clouds(save_npz(image_arrays))


@pytest.mark.parametrize(
    ("options", "message"), [({"points": 0}, "points: got 0"), ({"seed": -1}, "seed: got -1")]
)
def test_options_out_of_range(tmp_path: Path, options: Arrays, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        point_clouds(tmp_path, **options)


def test_h5_folder_joins_its_files_in_order(tmp_path: Path) -> None:
    train = [write_h5(tmp_path / f"ply_data_train{i}.h5", 3 + i, seed=i) for i in range(2)]
    test = write_h5(tmp_path / "ply_data_test0.h5", 2, seed=9)
    (tmp_path / "shape_names.txt").write_text("airplane\nflower pot\nbed\n")
    dataset = point_clouds(tmp_path)
    assert np.array_equal(dataset.x_train.numpy(), np.concatenate(train))
    assert np.array_equal(dataset.x_test.numpy(), test)
    assert dataset.y_train.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert dataset.classes == ("airplane", "flower pot", "bed")


def test_h5_file_finds_its_test_part(tmp_path: Path) -> None:
    write_h5(tmp_path / "train.h5", 4)
    test = write_h5(tmp_path / "test.h5", 2, seed=1)
    dataset = point_clouds(tmp_path / "train.h5", points=6)
    assert np.array_equal(dataset.x_test.numpy(), test[:, :6])


@pytest.mark.parametrize("names", [["train.h5"], ["test.h5"], ["points.h5"]])
def test_h5_needs_both_parts(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        write_h5(tmp_path / name, 2)
    for path in (tmp_path, tmp_path / names[0]):
        with pytest.raises(DataError, match="both a training and a test part"):
            point_clouds(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": None}, "cannot be read"),
        ({"data": None, "data/inner": np.zeros(2)}, "cannot be read"),
        ({"data": np.zeros((4, 8, 2), np.float32)}, r"data: got float32 of shape \(4, 8, 2\)"),
        ({"data": np.zeros((4, 7, 3), np.float32)}, r"clouds of shape \(7, 3\)"),
        ({"label": np.zeros(4)}, "label: got float64"),
        ({"label": np.zeros(3, int)}, "has 4 clouds and 3 labels"),
        ({"label": np.array([0, 1, 0, -2])}, "labels run from -2"),
    ],
)
def test_malformed_h5(tmp_path: Path, changes: Arrays, message: str) -> None:
    write_h5(tmp_path / "a_train.h5", 4)
    write_h5(tmp_path / "b_train.h5", 4, **changes)
    write_h5(tmp_path / "test.h5", 4)
    with pytest.raises(DataError, match=message):
        point_clouds(tmp_path)


def test_truncated_h5(tmp_path: Path) -> None:
    write_h5(tmp_path / "train.h5", 4)
    write_h5(tmp_path / "test.h5", 4)
    content = (tmp_path / "train.h5").read_bytes()
    (tmp_path / "train.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"train\.h5: cannot be read"):
        point_clouds(tmp_path)


def test_class_names_must_be_text(tmp_path: Path) -> None:
    write_h5(tmp_path / "train.h5", 4)
    write_h5(tmp_path / "test.h5", 4)
    (tmp_path / "shape_names.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="is no UTF-8 text"):
        point_clouds(tmp_path)


def test_missing_h5py_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_h5(tmp_path / "train.h5", 4)
    write_h5(tmp_path / "test.h5", 4)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"h5py.*modeldeed\[data\]"):
        point_clouds(tmp_path)


@pytest.mark.parametrize("layout", ["{part}/{name}", "{name}/{part}"])
def test_meshes_in_both_layouts(tmp_path: Path, layout: str) -> None:
    write_meshes(tmp_path, layout)
    dataset = point_clouds(tmp_path, points=100)
    assert dataset.classes == ("box", "cone")
    assert dataset.y_train.tolist() == dataset.y_test.tolist() == [0, 0, 0, 1, 1]
    assert dataset.x_train.shape == (5, 100, 3)
    assert dataset.x_train.mean(1).abs().max() < 1e-6
    torch.testing.assert_close(dataset.x_train.norm(dim=2).amax(1), torch.ones(5))


def test_meshes_give_1024_points_unless_told_otherwise(tmp_path: Path) -> None:
    write_meshes(tmp_path)
    assert point_clouds(tmp_path).input_shape == (1024, 3)


def test_points_of_a_mesh_depend_on_seed_and_name_alone(tmp_path: Path) -> None:
    write_meshes(tmp_path)
    first = point_clouds(tmp_path, points=16, seed=3)
    again = point_clouds(tmp_path, points=16, seed=3)
    other = point_clouds(tmp_path, points=16, seed=4)
    assert torch.equal(first.x_train, again.x_train)
    assert not torch.equal(first.x_train, other.x_train)
    (tmp_path / "train" / "box" / "box_0.off").unlink()
    fewer = point_clouds(tmp_path, points=16, seed=3)
    assert torch.equal(fewer.x_train, first.x_train[1:])


def test_a_broken_mesh_is_named(tmp_path: Path) -> None:
    write_meshes(tmp_path)
    (tmp_path / "test" / "cone" / "cone_1.off").write_text(
        "OFF\n3 1 0\n" + "0 0 0\n" * 3 + "3 0 1 2"
    )
    with pytest.raises(DataError, match=r"cone_1\.off: the mesh has no surface"):
        point_clouds(tmp_path)


def test_class_folders_are_checked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no class folders"):
        point_clouds(tmp_path)
    write_meshes(tmp_path)
    (tmp_path / "test" / "ball").mkdir()
    with pytest.raises(DataError, match="has ball, which train has not"):
        point_clouds(tmp_path)
    (tmp_path / "train" / "ball").mkdir()
    with pytest.raises(DataError, match=r"ball: holds no \.off file"):
        point_clouds(tmp_path)


def test_a_test_part_is_needed(tmp_path: Path) -> None:
    folder = tmp_path / "train" / "box"
    folder.mkdir(parents=True)
    (folder / "a.off").write_text(PYRAMID.format(s=1))
    with pytest.raises(DataError, match="neither test nor val"):
        point_clouds(tmp_path)
    (tmp_path / "test").mkdir()
    with pytest.raises(DataError, match="the test part holds no"):
        point_clouds(tmp_path)
