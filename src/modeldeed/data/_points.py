"""Point clouds from archives, HDF5 files and meshes."""

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from modeldeed.errors import DataError, OptionError

from ._arrays import Array, existing, make_dataset
from ._class_folders import list_class_files
from ._dataset import Dataset, unit_sphere
from ._hdf5 import read_h5
from ._meshes import read_off, sample_surface
from ._npz import read_npz

_MESH_POINTS = 1024


def point_clouds(path: str | Path, *, points: int | None = None, seed: int = 0) -> Dataset:
    """Read point clouds from an archive, from HDF5 files, or from a folder of meshes.

    - ``<name>.npz``: ``x_train``, ``x_test`` as floats ``(N, P, 3)``, ``y_train``, ``y_test``.
    - a folder with ``*train*.h5`` and ``*test*.h5``, as ModelNet40 is shared: each file holds
      ``data`` ``(N, P, 3)`` and ``label``; ``shape_names.txt`` names the classes. The path of one
      training file works too, if the same name with ``test`` lies beside it.
    - a folder of ``.off`` meshes, ``train/<class>/`` beside ``test/<class>/`` or ``<class>/train/``
      beside ``<class>/test/``: points are drawn from each surface, evenly by area, centered on
      their mean and scaled into the unit sphere.

    Args:
        path: the file or folder.
        points: points in each cloud. Stored clouds give their first ones; None takes all stored
            points, and 1,024 of a mesh.
        seed: chooses the points drawn from meshes, at least 0. A mesh's points depend on the seed
            and on its name inside the folder, not on what else lies there.

    Returns:
        Point clouds float32 ``(N, P, 3)``. Stored ones keep their position and scale; see
        :meth:`Dataset.normalized`.

    Raises:
        DataError: the path is missing, of another kind, or a file in it is damaged or misshapen.
        OptionError: ``points`` is below 1 or ``seed`` below 0.
        MissingExtraError: h5py is not installed, for HDF5 files.
    """
    if points is not None and points < 1:
        raise OptionError(f"points: got {points}; give at least 1")
    if seed < 0:
        raise OptionError(f"seed: got {seed}; give at least 0")
    path = existing(path, "path")
    if path.suffix == ".h5" or (path.is_dir() and any(path.glob("*.h5"))):
        dataset = read_h5(path)
    elif path.is_dir():
        return _read_meshes(path, points or _MESH_POINTS, seed)
    else:
        dataset = read_npz(path)
    return _first_points(path, dataset, points)


def _first_points(path: Path, dataset: Dataset, points: int | None) -> Dataset:
    """Check that a data set holds point clouds and keep the first points of each."""
    if dataset.x_train.ndim != 3:
        raise DataError(
            f"{path}: holds images {dataset.input_shape}, not point clouds; read it with load()"
        )
    stored = dataset.input_shape[0]
    if points is None or points == stored:
        return dataset
    if points > stored:
        raise DataError(f"{path}: asked for {points} points a cloud; only {stored} are stored")
    x_train, x_test = (x[:, :points].clone() for x in (dataset.x_train, dataset.x_test))
    return replace(dataset, x_train=x_train, x_test=x_test)


def _read_meshes(root: Path, points: int, seed: int) -> Dataset:
    found = list_class_files(root, {".off"})
    inputs, labels = [], []
    for part in (found.train, found.test):
        clouds = np.stack([_sample_mesh(path, root, points, seed) for path, _ in part])
        inputs.append(unit_sphere(torch.from_numpy(clouds)).to(torch.float32))
        labels.append(torch.tensor([label for _, label in part]))
    name = root.resolve().name
    return make_dataset(name, (inputs[0], inputs[1]), (labels[0], labels[1]), found.classes)


def _sample_mesh(path: Path, root: Path, points: int, seed: int) -> Array:
    name = path.relative_to(root).as_posix().encode()
    generator = np.random.Generator(np.random.PCG64([seed, zlib.crc32(name)]))
    vertices, triangles = read_off(path)
    try:
        return sample_surface(vertices, triangles, points, generator)
    except DataError as error:
        raise DataError(f"{path}: {error}; mend or remove it") from error
