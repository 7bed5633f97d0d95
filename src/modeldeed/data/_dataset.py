"""The one data-set type that every reader returns."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from modeldeed.errors import DataError

_IMAGE_AXES = 4
_POINT_AXES = 3
_SOUND_AXES = 2
_COORDINATES = 3


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Dataset:
    """A labeled data set with a training and a test part, checked when it is made.

    Args:
        name: what the set is called, for reports.
        x_train: training inputs, float32: images ``(N, C, H, W)`` in [0, 1], point clouds
            ``(N, P, 3)``, or sound ``(N, L)``.
        y_train: training labels, int64, ``(N,)``, each below the number of classes.
        x_test: test inputs, as ``x_train``.
        y_test: test labels, as ``y_train``.
        classes: the class names, in the order of the labels.
        source: where the data come from; empty means not known.
        license: the terms they are under; empty means not known.
        mean: what :meth:`normalized` subtracted from each image channel; empty means nothing.
        std: what :meth:`normalized` divided each image channel by; empty means nothing.

    Raises:
        DataError: a part is empty, misshapen or of another type, a label is out of range, a value
            is not finite, or an image that was not normalized leaves [0, 1].

    Example:
        >>> x, y = torch.rand(6, 1, 8, 8), torch.tensor([0, 1, 0, 1, 0, 1])
        >>> Dataset(name="toy", x_train=x, y_train=y, x_test=x, y_test=y, classes=("a", "b"))
        Dataset('toy', 6 train, 6 test, each (1, 8, 8), 2 classes)
    """

    name: str
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: tuple[str, ...]
    source: str = ""
    license: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for part, x, y in self._parts():
            where = f"{self.name}: x_{part}"
            _check_inputs(where, x, in_unit_range=not self.mean)
            _check_labels(f"{self.name}: y_{part}", y, len(x), len(self.classes))
        if self.x_train.shape[1:] != self.x_test.shape[1:]:
            raise DataError(
                f"{self.name}: one training input has shape {tuple(self.x_train.shape[1:])}, one "
                f"test input {tuple(self.x_test.shape[1:])}; both parts need the same shape"
            )

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name!r}, {len(self.y_train)} train, {len(self.y_test)} test, "
            f"each {self.input_shape}, {self.num_classes} classes)"
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input: ``(C, H, W)`` for images, ``(P, 3)`` for point clouds, ``(L,)``."""
        return tuple(self.x_train.shape[1:])

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def subset(self, train: int | None = None, test: int | None = None) -> "Dataset":
        """Take a class-balanced part, always the same one for the same numbers.

        The classes take turns, each giving its samples in their stored order, until the number is
        reached; a class that runs out is passed over. So every prefix of the result is as balanced
        as the data allow, and a smaller subset is a prefix of a larger one.

        Args:
            train: number of training samples; None keeps all in their stored order.
            test: number of test samples; None keeps all in their stored order.

        Returns:
            The smaller data set; its tensors are copies where a number was given.

        Raises:
            DataError: a number is below 1 or above what there is.

        Example:
            >>> x, y = torch.rand(6, 1, 8, 8), torch.tensor([0, 0, 0, 0, 1, 1])
            >>> toy = Dataset(
            ...     name="toy", x_train=x, y_train=y, x_test=x, y_test=y, classes=("a", "b")
            ... )
            >>> toy.subset(train=4).y_train.tolist()
            [0, 1, 0, 1]
        """
        chosen: dict[str, Any] = {}
        for (part, x, y), number in zip(self._parts(), (train, test), strict=True):
            if number is None:
                continue
            if not 1 <= number <= len(y):
                raise DataError(
                    f"{self.name}: asked for {number} {part} samples; give 1 to {len(y)}"
                )
            index = _take_turns(y, self.num_classes)[:number]
            chosen[f"x_{part}"], chosen[f"y_{part}"] = x[index], y[index]
        return replace(self, **chosen)

    def normalized(self) -> "Dataset":
        """Standardize the inputs, as training usually wants them.

        Images: each channel of both parts has the *training* part's mean subtracted and is divided
        by its standard deviation; both are kept in :attr:`mean` and :attr:`std`, since whatever
        else is fed to the network (trigger samples, backgrounds) must be treated alike. Point
        clouds: each is centered on its mean and scaled into the unit sphere.

        Returns:
            The normalized data set; sound, and images that were normalized before, are returned as
            they are.

        Raises:
            DataError: an image channel is constant over the training part, so that it has no scale.
        """
        if self.x_train.ndim == _POINT_AXES:
            return replace(self, x_train=unit_sphere(self.x_train), x_test=unit_sphere(self.x_test))
        if self.mean or self.x_train.ndim == _SOUND_AXES:
            return self
        variance, mean = torch.var_mean(self.x_train, dim=(0, 2, 3), correction=0)
        std = variance.sqrt()
        if not bool((std > 0).all()):
            raise DataError(
                f"{self.name}: a channel is constant over the training images (standard "
                f"deviations {std.tolist()}); drop it, or use the images as they are"
            )
        mean_, std_ = mean[:, None, None], std[:, None, None]
        return replace(
            self,
            x_train=(self.x_train - mean_).div_(std_),
            x_test=(self.x_test - mean_).div_(std_),
            mean=tuple(mean.tolist()),
            std=tuple(std.tolist()),
        )

    def _parts(self) -> Sequence[tuple[str, Tensor, Tensor]]:
        return ("train", self.x_train, self.y_train), ("test", self.x_test, self.y_test)


def unit_sphere(points: Tensor) -> Tensor:
    """Center each point cloud on its mean and scale its farthest point to distance 1.

    Args:
        points: point clouds, ``(N, P, 3)``, float.

    Returns:
        A new tensor of the same shape, finite even where all points of a cloud coincide.

    Example:
        >>> unit_sphere(torch.tensor([[[0.0, 0.0, 0.0], [4.0, 0.0, 0.0]]])).tolist()
        [[[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]]
    """
    centered = points - points.mean(dim=1, keepdim=True)
    radius = (
        torch.linalg.vector_norm(centered, dim=2)
        .amax(dim=1)
        .clamp_min(torch.finfo(points.dtype).tiny)
    )
    scaled: Tensor = centered / radius[:, None, None]
    return scaled


def _take_turns(labels: Tensor, num_classes: int) -> Tensor:
    """Order samples by their rank within the class first and by class second."""
    by_class = torch.argsort(labels, stable=True)
    counts = torch.bincount(labels, minlength=num_classes)
    starts = counts.cumsum(0) - counts
    rank = torch.empty_like(labels)
    rank[by_class] = torch.arange(len(labels), device=labels.device) - starts[labels[by_class]]
    return torch.argsort(rank * num_classes + labels)


def _check_inputs(where: str, x: Tensor, *, in_unit_range: bool) -> None:
    points = x.ndim == _POINT_AXES and x.shape[-1] == _COORDINATES
    images = x.ndim == _IMAGE_AXES
    if x.dtype != torch.float32 or not (points or images or x.ndim == _SOUND_AXES):
        raise DataError(
            f"{where}: got {x.dtype} of shape {tuple(x.shape)}; expected float32, images "
            "(N, C, H, W), point clouds (N, P, 3) or sound (N, L)"
        )
    if x.numel() == 0:
        raise DataError(f"{where}: empty, shape {tuple(x.shape)}; at least one sample is needed")
    low, high = (float(value) for value in torch.aminmax(x))
    if not (abs(low) < torch.inf and abs(high) < torch.inf):
        raise DataError(f"{where}: has values that are not finite; remove the broken samples")
    if images and in_unit_range and (low < 0 or high > 1):
        raise DataError(
            f"{where}: values run from {low:g} to {high:g}; scale images to [0, 1] (from bytes: "
            "divide by 255)"
        )


def _check_labels(where: str, y: Tensor, samples: int, num_classes: int) -> None:
    if y.dtype != torch.int64 or y.shape != (samples,):
        raise DataError(
            f"{where}: got {y.dtype} of shape {tuple(y.shape)}; expected int64 of shape "
            f"({samples},), one label for each input"
        )
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= num_classes:
        raise DataError(
            f"{where}: labels run from {low} to {high}; with {num_classes} classes they must lie "
            f"in 0 to {num_classes - 1}"
        )
