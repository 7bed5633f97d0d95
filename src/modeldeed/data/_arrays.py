"""From stored arrays to the tensors of a data set, with the checks that belong there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modeldeed.errors import DataError

from ._cards import CARDS
from ._dataset import Dataset

Array = NDArray[Any]

_MAX_CHANNELS = 4
# Without names the largest label says how many classes there are; a corrupt one must not make
# a list of billions of names.
_MAX_UNNAMED_CLASSES = 100_000


def existing(path: str | Path, what: str) -> Path:
    """Return the path if something is there.

    Args:
        path: where to look.
        what: the argument's name, for the message.

    Returns:
        The same path as an object.

    Raises:
        DataError: nothing is there.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{what}: {path} does not exist; give the path where the data lie")
    return path


def inputs_from_array(where: str, array: Array) -> Tensor:
    """Turn a stored array of images or point clouds into float32 inputs.

    Args:
        where: file and array, for messages.
        array: images as uint8 ``(N, H, W, C)`` or ``(N, H, W)``, or point clouds as floats
            ``(N, P, 3)``.

    Returns:
        Images ``(N, C, H, W)`` divided by 255, or point clouds ``(N, P, 3)`` as they are.

    Raises:
        DataError: the array is neither.
    """
    if array.dtype == np.uint8 and array.ndim == 3:
        array = array[..., None]
    if array.dtype == np.uint8 and array.ndim == 4 and array.shape[-1] <= _MAX_CHANNELS:
        pixels = torch.from_numpy(np.ascontiguousarray(array)).permute(0, 3, 1, 2)
        return pixels.to(torch.float32, memory_format=torch.contiguous_format).div_(255)
    if array.dtype.kind == "f" and array.ndim == 3 and array.shape[-1] == 3:
        with np.errstate(over="ignore"):  # what does not fit becomes infinite, which is refused
            return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    raise DataError(
        f"{where}: got {array.dtype} of shape {array.shape}; expected images, uint8 (N, H, W, C) "
        "with the channels last, or point clouds, float (N, P, 3)"
    )


def labels_from_array(where: str, array: Array) -> Tensor:
    """Turn a stored array of whole numbers, ``(N,)`` or ``(N, 1)``, into int64 labels.

    Args:
        where: file and array, for messages.
        array: the labels.

    Returns:
        Labels, ``(N,)``; their range is the data set's to check.

    Raises:
        DataError: the array has another shape or holds no integers.
    """
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise DataError(
            f"{where}: got {array.dtype} of shape {array.shape}; expected integers of shape (N,)"
        )
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64))


def make_dataset(
    name: str,
    inputs: tuple[Tensor, Tensor],
    labels: tuple[Tensor, Tensor],
    classes: Sequence[str] | None = None,
) -> Dataset:
    """Put a data set together, with what is known about its name.

    Args:
        name: what the set is called; a known name brings class names, source and license.
        inputs: training and test inputs.
        labels: training and test labels.
        classes: class names; None takes the known ones, or else numbers up to the largest
            training label.

    Returns:
        The data set.

    Raises:
        DataError: as :class:`Dataset`; or the labels ask for an absurd number of classes.
    """
    card = CARDS.get(name)
    if classes is None and card is not None:
        classes = card.classes
    if classes is None:
        largest = int(labels[0].max()) if labels[0].numel() else 0
        if largest >= _MAX_UNNAMED_CLASSES:
            raise DataError(
                f"{name}: y_train: the largest label is {largest}; without class names labels must "
                f"lie below {_MAX_UNNAMED_CLASSES}"
            )
        classes = [str(label) for label in range(largest + 1)]
    return Dataset(
        name=name,
        x_train=inputs[0],
        y_train=labels[0],
        x_test=inputs[1],
        y_test=labels[1],
        classes=tuple(classes),
        source=card.source if card else "",
        license=card.license if card else "",
    )
