"""CIFAR-10 and CIFAR-100 from files on disk."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from modeldeed.errors import DataError

from ._arrays import existing, make_dataset
from ._dataset import Dataset
from ._npz import read_npz

_PIXELS = 3 * 32 * 32


@dataclass(frozen=True, kw_only=True)
class _Release:
    """Where one of the two sets keeps what, in the official archives.

    Args:
        name: what the set is called here.
        folder: the folder inside the binary archive.
        train: the files of the training part, in order.
        test: the file of the test part.
        label_bytes: bytes before the pixels of a record; the last is the label to read.
        archive: the binary archive.
        pickles: what the Python archive unpacks to, which is refused.
    """

    name: str
    folder: str
    train: tuple[str, ...]
    test: str
    label_bytes: int
    archive: str
    pickles: tuple[str, ...]


_CIFAR10 = _Release(
    name="cifar10",
    folder="cifar-10-batches-bin",
    train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    test="test_batch.bin",
    label_bytes=1,
    archive="cifar-10-binary.tar.gz",
    pickles=("data_batch_1", "cifar-10-batches-py/data_batch_1"),
)
_CIFAR100 = _Release(
    name="cifar100",
    folder="cifar-100-binary",
    train=("train.bin",),
    test="test.bin",
    label_bytes=2,  # coarse, fine
    archive="cifar-100-binary.tar.gz",
    pickles=("train", "cifar-100-python/train"),
)


def cifar10(root: str | Path) -> Dataset:
    """Read CIFAR-10 from a folder.

    Looked for, in this order: ``cifar10.npz`` with ``x_train``, ``y_train``, ``x_test``, ``y_test``
    (images uint8 ``(N, 32, 32, 3)``); ``data_batch_1.bin`` to ``data_batch_5.bin`` and
    ``test_batch.bin`` of the official binary archive; the same in ``cifar-10-batches-bin``.

    Args:
        root: the folder.

    Returns:
        Images float32 ``(N, 3, 32, 32)`` in [0, 1].

    Raises:
        DataError: the folder or the files are missing, are the pickles of the Python archive, are
            cut off or misshapen, or hold a label above 9.

    Reference:
        A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """
    return _read(_CIFAR10, existing(root, "root"))


def cifar100(root: str | Path) -> Dataset:
    """Read CIFAR-100 with its 100 fine labels from a folder.

    Looked for, in this order: ``cifar100.npz``, as for :func:`cifar10`; ``train.bin`` and
    ``test.bin`` of the official binary archive; the same in ``cifar-100-binary``.

    Args:
        root: the folder.

    Returns:
        Images float32 ``(N, 3, 32, 32)`` in [0, 1].

    Raises:
        DataError: as :func:`cifar10`, with labels above 99.

    Reference:
        A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """
    return _read(_CIFAR100, existing(root, "root"))


def _read(release: _Release, root: Path) -> Dataset:
    npz = root / f"{release.name}.npz"
    if npz.is_file():
        return read_npz(npz, release.name)
    for folder in (root, root / release.folder):
        if any((folder / file).is_file() for file in (*release.train, release.test)):
            return _read_binary(release, folder)
    url = f"https://www.cs.toronto.edu/~kriz/{release.archive}"
    for pickle in release.pickles:
        if (root / pickle).is_file():
            raise DataError(
                f"{root / pickle}: belongs to the Python version of {release.name}, whose files "
                "are pickles: reading one runs whatever code it holds, so they are never opened; "
                f"unpack the binary version, {url}, instead"
            )
    looked = [npz, root / release.train[0], root / release.folder / release.train[0]]
    raise DataError(
        f"{release.name}: not found; looked for {', '.join(map(str, looked))}; unpack {url} there"
    )


def _read_binary(release: _Release, folder: Path) -> Dataset:
    missing = [f for f in (*release.train, release.test) if not (folder / f).is_file()]
    if missing:
        raise DataError(
            f"{folder}: has no {', '.join(missing)}; unpack the whole of {release.archive}"
        )
    x_train, y_train = _read_records([folder / f for f in release.train], release.label_bytes)
    x_test, y_test = _read_records([folder / release.test], release.label_bytes)
    return make_dataset(release.name, (x_train, x_test), (y_train, y_test))


def _read_records(paths: list[Path], label_bytes: int) -> tuple[Tensor, Tensor]:
    """Read records of label bytes and 3x32x32 pixels, plane by plane."""
    length = label_bytes + _PIXELS
    parts = []
    for path in paths:
        size = path.stat().st_size
        if size == 0 or size % length:
            raise DataError(
                f"{path}: has {size} bytes, no whole number of {length}-byte records; the file is "
                "cut off or of another kind: unpack it again"
            )
        parts.append(torch.from_numpy(np.fromfile(path, dtype=np.uint8)).view(-1, length))
    records = torch.cat(parts)
    pixels = records[:, label_bytes:].to(torch.float32).div_(255)
    return pixels.view(-1, 3, 32, 32), records[:, label_bytes - 1].to(torch.int64)
