"""Data sets in one ``.npz`` archive."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from modeldeed.errors import DataError

from ._arrays import Array, inputs_from_array, labels_from_array, make_dataset
from ._dataset import Dataset

_NAMES = ("x_train", "y_train", "x_test", "y_test")
# What numpy and zipfile raise for archives that are cut, altered, encrypted or hold pickles.
_UNREADABLE = (OSError, ValueError, EOFError, RuntimeError, MemoryError, zlib.error)


def read_npz(path: Path, name: str | None = None) -> Dataset:
    """Read a data set of images or point clouds from an ``.npz`` archive.

    Args:
        path: the archive. It holds ``x_train`` and ``x_test``, images as uint8 ``(N, H, W, C)`` or
            point clouds as floats ``(N, P, 3)``; ``y_train`` and ``y_test``, integers ``(N,)``; and
            may hold ``classes``, the class names as text.
        name: what the set is called; None takes the file's name.

    Returns:
        The data set.

    Raises:
        DataError: the file is no archive, is damaged, holds pickled objects, lacks an array, or an
            array is misshapen.
    """
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: is not an .npz archive; write it with numpy.savez")
    arrays = _read_arrays(path)
    missing = [key for key in _NAMES if key not in arrays]
    if missing:
        raise DataError(
            f"{path}: has no {', '.join(missing)}; an archive needs {', '.join(_NAMES)}"
        )
    x_train, x_test = (inputs_from_array(f"{path}: {k}", arrays[k]) for k in ("x_train", "x_test"))
    y_train, y_test = (labels_from_array(f"{path}: {k}", arrays[k]) for k in ("y_train", "y_test"))
    classes = None
    if "classes" in arrays:
        classes = [str(label) for label in arrays["classes"].ravel()]
    return make_dataset(name or path.stem, (x_train, x_test), (y_train, y_test), classes)


def _read_arrays(path: Path) -> dict[str, Array]:
    try:
        # Opened here, since numpy leaves a file open whose archive turns out to be damaged.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files if key in (*_NAMES, "classes")}
    except (*_UNREADABLE, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); copy or write it again, with plain arrays and no "
            "Python objects"
        ) from error
    for key, array in arrays.items():
        if not isinstance(array, np.ndarray):  # numpy returns a member of another kind as bytes
            raise DataError(f"{path}: {key} is no array; write the archive with numpy.savez")
    return arrays
