"""Reading by name or path, and that the readers' packages stay optional."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modeldeed.data import load
from modeldeed.data._extras import import_extra
from modeldeed.errors import DataError

Arrays = dict[str, Any]
Save = Callable[..., Path]


def test_digits_need_no_root() -> None:
    assert load("digits").name == "digits"


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_needs_a_root(name: str, image_arrays: Arrays, save_npz: Save) -> None:
    path = save_npz(image_arrays, name)
    assert load(name, path.parent).name == name
    with pytest.raises(DataError, match=f"{name}: no root given"):
        load(name)


def test_an_archive_by_name_under_root(point_arrays: Arrays, save_npz: Save) -> None:
    path = save_npz(point_arrays, "ldraw-parts")
    for name in ("ldraw-parts", "ldraw-parts.npz"):
        assert load(name, path.parent).num_classes == 20


def test_an_archive_by_path(point_arrays: Arrays, save_npz: Save) -> None:
    assert load(str(save_npz(point_arrays))).name == "toy"


def test_a_folder_of_images_by_size(tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / "photos" / part / "sky").mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(tmp_path / "photos" / part / "sky" / "a.png")
    assert load("photos", tmp_path, size=5).input_shape == (3, 5, 5)
    with pytest.raises(DataError, match=r"sky: holds no \.off file"):
        load("photos", tmp_path)


def test_a_folder_or_file_of_points(tmp_path: Path) -> None:
    import h5py

    for part in ("train", "test"):
        with h5py.File(tmp_path / f"{part}.h5", "w") as file:
            file["data"], file["label"] = np.ones((2, 4, 3), np.float32), np.zeros(2, int)
    assert load(str(tmp_path)).input_shape == (4, 3)
    assert load("train.h5", tmp_path).input_shape == (4, 3)


def test_nothing_found_names_every_place(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load("lost", tmp_path)
    assert f"{tmp_path / 'lost.npz'}, {tmp_path / 'lost'}" in str(caught.value)
    assert "digits, cifar10, cifar100" in str(caught.value)


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"root: .*nowhere does not exist"):
        load("toy", tmp_path / "nowhere")


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("1,2")
    with pytest.raises(DataError, match=r"expected \.npz, \.h5 or a folder"):
        load("data.csv", tmp_path)


def test_importing_the_readers_imports_no_optional_package() -> None:
    code = "import sys, modeldeed.data; print({'sklearn', 'h5py', 'PIL'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "set()\n"


def test_a_broken_optional_package_tells_its_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "brokenextra.py").write_text("import a_module_that_is_not_there")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):
        import_extra("brokenextra", "broken-extra", "data")
