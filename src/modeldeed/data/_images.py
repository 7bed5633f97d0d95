"""Photos in class folders."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modeldeed.errors import DataError, OptionError

from ._arrays import Array, existing, inputs_from_array, make_dataset
from ._class_folders import list_class_files
from ._dataset import Dataset
from ._extras import import_extra

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"})


def image_folder(root: str | Path, size: int) -> Dataset:
    """Read photos from class folders and bring them to one square size.

    The layout is ``train/<class>/<image>`` beside ``test/<class>/<image>`` (or ``val``). Of each
    image the central square is taken and resized with an antialiasing bilinear filter; gray and
    palette images become RGB. Labels follow the sorted class names.

    Args:
        root: the folder.
        size: side of the images to return, in pixels, at least 1.

    Returns:
        Images float32 ``(N, 3, size, size)`` in [0, 1].

    Raises:
        DataError: the folder is missing or laid out otherwise, a class is empty, or a file is no
            image that Pillow can read.
        OptionError: ``size`` is below 1.
        MissingExtraError: Pillow is not installed.
    """
    if size < 1:
        raise OptionError(f"size: got {size}; give at least 1 pixel")
    root = existing(root, "root")
    image = import_extra("PIL.Image", "pillow", "data")
    found = list_class_files(root, _SUFFIXES)
    x_train, y_train = _read_part(image, found.train, size)
    x_test, y_test = _read_part(image, found.test, size)
    name = root.resolve().name
    return make_dataset(name, (x_train, x_test), (y_train, y_test), found.classes)


def _read_part(image: Any, files: list[tuple[Path, int]], size: int) -> tuple[Tensor, Tensor]:
    squares = np.stack([_read_square(image, path, size) for path, _ in files])
    return inputs_from_array("images", squares), torch.tensor([label for _, label in files])


def _read_square(image: Any, path: Path, size: int) -> Array:
    """Return the central square of an image, uint8 ``(size, size, 3)``."""
    try:
        with image.open(path) as opened:
            photo = opened.convert("RGB")
    # Pillow tells a damaged file by any of these, according to its format.
    except (OSError, ValueError, SyntaxError, EOFError, image.DecompressionBombError) as error:
        raise DataError(f"{path}: is no readable image ({error}); mend or remove it") from error
    side = min(photo.size)
    left, top = (photo.width - side) // 2, (photo.height - side) // 2
    box = (left, top, left + side, top + side)
    return np.asarray(photo.resize((size, size), image.Resampling.BILINEAR, box=box))
