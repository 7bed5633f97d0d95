"""One entry for all readers, by name or path."""

from pathlib import Path

from modeldeed.errors import DataError

from ._arrays import existing
from ._cifar import cifar10, cifar100
from ._dataset import Dataset
from ._digits import digits
from ._images import image_folder
from ._npz import read_npz
from ._points import point_clouds

_CIFAR = {"cifar10": cifar10, "cifar100": cifar100}


def load(name: str, root: str | Path | None = None, *, size: int | None = None) -> Dataset:
    """Read a data set by its name, or by the path of its file or folder.

    Args:
        name: ``digits``, which needs no files; ``cifar10`` or ``cifar100``, read from ``root``; or
            anything else: with ``root``, the archive ``<name>.npz`` there (such as
            ``ldraw-parts``), or the file or folder of that name; without, a path.
        root: the folder that holds the data; None takes ``name`` as a path.
        size: for a folder of images, the side to bring them to, as :func:`image_folder` does; None
            reads a folder as point clouds, as :func:`point_clouds` does.

    Returns:
        The data set.

    Raises:
        DataError: nothing is there, and then the message names every path looked for; or what is
            there is damaged or misshapen.
        MissingExtraError: the package that reads it is not installed.

    Example:
        >>> load("digits")
        Dataset('digits', 1400 train, 397 test, each (1, 8, 8), 10 classes)
    """
    if name == "digits":
        return digits()
    if name in _CIFAR:
        if root is None:
            raise DataError(
                f"{name}: no root given; name the folder that holds its files (root=..., on the "
                "command line --data-root or the environment variable MODELDEED_DATA)"
            )
        return _CIFAR[name](root)
    path = _find(name, root)
    if path.suffix == ".npz":
        return read_npz(path)
    if path.suffix == ".h5":
        return point_clouds(path)
    if path.is_dir():
        return point_clouds(path) if size is None else image_folder(path, size)
    raise DataError(f"{path}: is no data set; expected .npz, .h5 or a folder")


def _find(name: str, root: str | Path | None) -> Path:
    if root is None:
        candidates = [Path(name)]
    else:
        folder = existing(root, "root")
        candidates = [folder / f"{name}.npz", folder / name]
    for path in candidates:
        if path.exists():
            return path
    raise DataError(
        f"{name}: not found; looked for {', '.join(map(str, candidates))}. Known by name: digits, "
        f"{', '.join(_CIFAR)}; anything else is an archive or folder under root, or a path"
    )
