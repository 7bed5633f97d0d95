"""Data sets that are a folder of files for each class."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from modeldeed.errors import DataError

_TRAIN = "train"
_TEST = ("test", "val")


@dataclass(frozen=True)
class ClassFiles:
    """The files of a data set and their labels.

    Args:
        classes: the class names, sorted.
        train: training files, sorted by class and name, each with its label.
        test: test files, likewise.
    """

    classes: tuple[str, ...]
    train: list[tuple[Path, int]]
    test: list[tuple[Path, int]]


def list_class_files(root: Path, suffixes: Collection[str]) -> ClassFiles:
    """List the files of a data set laid out in folders.

    Two layouts are understood: ``train/<class>/<file>`` beside ``test/<class>/<file>``, and
    ``<class>/train/<file>`` beside ``<class>/test/<file>``. ``val`` stands in for a missing
    ``test``. Hidden folders and files with another suffix are passed over.

    Args:
        root: the folder.
        suffixes: the file name endings to list, in lower case, with their dot.

    Returns:
        Classes and files, in an order that depends on names alone.

    Raises:
        DataError: neither layout is there, a class has no training file, the test part has a class
            that the training part lacks, or no file at all.
    """
    if (root / _TRAIN).is_dir():
        test_root = root / _test_folder(root)
        classes = _folders(root / _TRAIN)
        unknown = sorted(set(_folders(test_root)) - set(classes))
        if unknown:
            raise DataError(f"{test_root}: has {', '.join(unknown)}, which {_TRAIN} has not")
        folders = [(root / _TRAIN / name, test_root / name) for name in classes]
    else:
        classes = [name for name in _folders(root) if (root / name / _TRAIN).is_dir()]
        folders = [(root / c / _TRAIN, root / c / _test_folder(root / c)) for c in classes]
    if not classes:
        raise DataError(
            f"{root}: holds no class folders; looked for {_TRAIN}/<class>/ and <class>/{_TRAIN}/"
        )
    found = ClassFiles(tuple(classes), [], [])
    for label, (train, test) in enumerate(folders):
        files = _files(train, suffixes)
        if not files:
            raise DataError(f"{train}: holds no {' or '.join(sorted(suffixes))} file")
        found.train.extend((path, label) for path in files)
        found.test.extend((path, label) for path in _files(test, suffixes))
    if not found.test:
        raise DataError(f"{root}: the test part holds no {' or '.join(sorted(suffixes))} file")
    return found


def _test_folder(parent: Path) -> str:
    """Return which name the test part's folder has."""
    for name in _TEST:
        if (parent / name).is_dir():
            return name
    raise DataError(f"{parent}: has {_TRAIN} but neither {' nor '.join(_TEST)} beside it")


def _folders(parent: Path) -> list[str]:
    return sorted(p.name for p in parent.iterdir() if p.is_dir() and not p.name.startswith("."))


def _files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    if not folder.is_dir():
        return []
    listed = (p for p in folder.iterdir() if not p.name.startswith(".") and p.is_file())
    return sorted(p for p in listed if p.suffix.lower() in suffixes)
