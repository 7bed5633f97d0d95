"""Point clouds in HDF5 files, as ModelNet40 is shared."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modeldeed.errors import DataError

from ._arrays import inputs_from_array, labels_from_array, make_dataset
from ._dataset import Dataset
from ._extras import import_extra

_CLASS_NAMES = "shape_names.txt"


def read_h5(path: Path) -> Dataset:
    """Read point clouds from HDF5 files with ``data`` ``(N, P, 3)`` and ``label``.

    Args:
        path: a folder, whose files with ``train`` and ``test`` in their names are joined in sorted
            order; or one training file, with its test file beside it. ``shape_names.txt`` in the
            folder names the classes, one a line.

    Returns:
        The data set, as stored.

    Raises:
        DataError: a part is missing, or a file is damaged or misshapen.
        MissingExtraError: h5py is not installed.
    """
    if path.is_dir():
        folder, train = path, sorted(path.glob("*train*.h5"))
        test = sorted(path.glob("*test*.h5"))
    else:
        folder, train = path.parent, [path]
        test = [path.with_name(path.name.replace("train", "test"))]
    if not train or not test or train == test or not test[0].is_file():
        raise DataError(
            f"{path}: both a training and a test part are needed, in files whose names hold "
            "'train' and 'test' (*train*.h5, *test*.h5)"
        )
    h5py = import_extra("h5py", "h5py", "data")
    x_train, y_train = _read_files(h5py, train)
    x_test, y_test = _read_files(h5py, test)
    name = folder.resolve().name if path.is_dir() else path.stem
    return make_dataset(name, (x_train, x_test), (y_train, y_test), _class_names(folder))


def _class_names(folder: Path) -> list[str] | None:
    path = folder / _CLASS_NAMES
    if not path.is_file():
        return None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no UTF-8 text ({error}); write one name a line") from error
    return [line.strip() for line in lines if line.strip()]


def _read_files(h5py: Any, paths: Sequence[Path]) -> tuple[Tensor, Tensor]:
    inputs: list[Tensor] = []
    labels: list[Tensor] = []
    for path in paths:
        x, y = _read_file(h5py, path)
        if inputs and x.shape[1:] != inputs[0].shape[1:]:
            raise DataError(
                f"{path}: data has clouds of shape {tuple(x.shape[1:])}, {paths[0]} of "
                f"{tuple(inputs[0].shape[1:])}; all files need the same"
            )
        inputs.append(x)
        labels.append(y)
    return torch.cat(inputs), torch.cat(labels)


def _read_file(h5py: Any, path: Path) -> tuple[Tensor, Tensor]:
    try:
        with h5py.File(path, "r") as file:
            data, label = np.asarray(file["data"][()]), np.asarray(file["label"][()])
    # h5py: no HDF5 file or cut off; no such entry; an entry that is a group.
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); expected an HDF5 file with arrays data and label"
        ) from error
    x = inputs_from_array(f"{path}: data", data)
    y = labels_from_array(f"{path}: label", label)
    if len(x) != len(y):
        raise DataError(f"{path}: has {len(x)} clouds and {len(y)} labels; expected as many")
    return x, y
