"""The networks and data sets that experiments are run on, in three sizes.

A host is data, not code: the whole of it goes into the card. Epochs of the standard size are such
that two cores of a current processor do all of it within two hours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from pydantic import JsonValue
from torch import nn

from benchmarks.precision import fast_bfloat16
from benchmarks.row_transformer import RowTransformer
from benchmarks.small_networks import small_network
from benchmarks.speech import SPOKEN_DIGITS, SoundNetwork, spoken_digits
from modeldeed import data, models
from modeldeed.data import Dataset
from modeldeed.models import NormKind
from modeldeed.training import Augment, Recipe

__all__ = ["FULL", "QUICK", "STANDARD", "Host", "full_host"]

Network = Literal[
    "resnet_small", "resnet18", "alexnet", "pointnet", "row_transformer", "sound",
    "convnext", "vit", "llama", "small_cnn",
]  # fmt: skip
IMAGE_NORMS: tuple[NormKind, ...] = ("batch", "group", "instance")
ALL_NORMS: tuple[NormKind, ...] = (*IMAGE_NORMS, "layer")


@dataclass(frozen=True, kw_only=True)
class Host:
    """A network, its data and how it is trained.

    Attributes:
        data: the data set's name.
        network: the architecture.
        recipe: how it is trained; its seed is replaced by the cell's.
        norm: kind of its norms.
        width: channels of the first stage of a residual network; None takes its default.
        train: class-balanced training samples; None takes all.
        test: class-balanced test samples; None takes all.
        points: of each point cloud, the first so many; None takes all.
        augment: what is done to the inputs of every batch.
        seeds: at most so many of the asked seeds; None takes all.
    """

    data: str
    network: Network
    recipe: Recipe
    norm: NormKind = "batch"
    width: int | None = None
    train: int | None = None
    test: int | None = None
    points: int | None = None
    augment: Literal["none", "images", "points"] = "none"
    seeds: int | None = None

    @property
    def name(self) -> str:
        """How it is called in cards and by ``--only``."""
        width = "" if self.width is None else f"w{self.width}"
        return f"{self.data}-{self.network}{width}-{self.norm}"

    def configuration(self) -> dict[str, JsonValue]:
        """Everything about it, for the card; seeds stand there by themselves."""
        fields = asdict(self)
        del fields["recipe"]["seed"]
        return fields

    def load(self, root: Path | None, device: torch.device) -> Dataset:
        """Its data, normalized, on a device; test samples take turns by class.

        Raises:
            DataError: they are missing or malformed.
        """
        spoken = self.data == SPOKEN_DIGITS
        dataset = spoken_digits(root) if spoken else data.load(self.data, root)
        if self.points is not None:
            x_train, x_test = (x[:, : self.points] for x in (dataset.x_train, dataset.x_test))
            dataset = replace(dataset, x_train=x_train, x_test=x_test)
        test = len(dataset.y_test) if self.test is None else self.test
        return _moved(dataset.subset(self.train, test).normalized(), device)

    def build(self, dataset: Dataset, seed: int) -> nn.Module:
        """The untrained network on the data's device; the same for the same seed."""
        classes = dataset.num_classes
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self._network(classes, dataset.input_shape[0], dataset.input_shape[-1])
        device = dataset.x_train.device
        if self.network == "pointnet" or self.norm in ("group", "instance"):
            return network.to(device)
        # Convolutions are up to a third faster with channels last, most of all in bfloat16; group
        # and instance norm are so much slower (on a CPU five times) that the sum is lost.
        return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _network(self, classes: int, channels: int, size: int) -> nn.Module:
        if self.network == "pointnet":
            return models.pointnet(classes, self.norm)
        if self.network == "alexnet":
            return models.alexnet(classes, channels, self.norm)
        if self.network == "row_transformer":
            return RowTransformer(classes)
        if self.network == "sound":
            return SoundNetwork(classes, self.norm)
        if self.network in ("convnext", "vit", "llama", "small_cnn"):
            return small_network(self.network, classes, channels, size)
        small = self.network == "resnet_small"
        make: Callable[..., nn.Module] = models.resnet_small if small else models.resnet18
        width = {} if self.width is None else {"width": self.width}
        return make(classes, channels, norm=self.norm, **width)

    @property
    def augmentation(self) -> Augment | None:
        """The function that augments a batch; None for none."""
        functions: dict[str, Augment] = {
            "images": data.augment_images,
            "points": data.augment_points,
        }
        return functions.get(self.augment)


def _moved(dataset: Dataset, device: torch.device) -> Dataset:
    """The data set on a device; checked again there, which costs a pass over the data."""
    if device.type == "cpu":
        return dataset
    return replace(
        dataset,
        x_train=dataset.x_train.to(device),
        y_train=dataset.y_train.to(device),
        x_test=dataset.x_test.to(device),
        y_test=dataset.y_test.to(device),
    )


_BFLOAT16 = fast_bfloat16()

QUICK = (
    Host(data="digits", network="resnet_small", recipe=Recipe(epochs=30)),
    Host(
        data="cifar10",
        network="resnet18",
        width=16,
        train=10_000,
        test=2_000,
        augment="images",
        recipe=Recipe(epochs=8, batch_size=128, bfloat16=_BFLOAT16),
    ),
)


def _narrow(norm: NormKind) -> Host:
    narrow = QUICK[1]
    # Without batch norm a usual peak throws a residual network off in its first steps.
    peak = narrow.recipe.learning_rate if norm == "batch" else 0.02
    return replace(narrow, norm=norm, recipe=replace(narrow.recipe, learning_rate=peak))


def _cifar(network: Network, norm: NormKind, train: int, recipe: Recipe) -> Host:
    return Host(
        data="cifar10",
        network=network,
        norm=norm,
        train=train,
        test=2_000,
        augment="images",
        recipe=recipe,
        seeds=1,
    )


# AlexNet after 128 steps: batch 0.51 at a peak of 0.02 and 0.58 at 0.005, group 0.39 and 0.48.
_RESNET = Recipe(epochs=6, batch_size=64, learning_rate=0.05, bfloat16=_BFLOAT16)
_ALEXNET = Recipe(epochs=5, batch_size=64, learning_rate=0.005, bfloat16=_BFLOAT16)
# PointNet as its authors trained it, but for the cycle and their regularizer of the feature
# transform, which needs a second output.
_POINTNET = Recipe(
    epochs=6,
    batch_size=32,
    optimizer="adam",
    learning_rate=1e-3,
    weight_decay=1e-4,
    bfloat16=_BFLOAT16,
)

STANDARD = (
    *(_narrow(norm) for norm in ALL_NORMS),
    _cifar("resnet18", "batch", 5_000, _RESNET),
    *(_cifar("alexnet", norm, 5_000, _ALEXNET) for norm in IMAGE_NORMS),
    Host(
        data="ldraw-parts",
        network="pointnet",
        points=256,
        augment="points",
        recipe=_POINTNET,
        seeds=1,
    ),
)

# The papers' sizes: all of CIFAR, batch 64, 200 epochs; PointNet with batch 16. The cycle stands
# in for their steps at 100 and 150 epochs.
_FULL_RESNET = Recipe(epochs=200, batch_size=64, learning_rate=0.05, bfloat16=True)
_FULL_ALEXNET = replace(_FULL_RESNET, learning_rate=0.01)
_FULL_IMAGE: tuple[tuple[Network, Recipe], ...] = (
    ("resnet18", _FULL_RESNET),
    ("alexnet", _FULL_ALEXNET),
)

FULL = (
    *(
        Host(data=source, network=network, norm=norm, augment="images", recipe=recipe)
        for source in ("cifar10", "cifar100")
        for network, recipe in _FULL_IMAGE
        for norm in IMAGE_NORMS
    ),
    Host(
        data="ldraw-parts",
        network="pointnet",
        augment="points",
        recipe=replace(_POINTNET, epochs=200, batch_size=16, bfloat16=True),
    ),
)


def full_host(network: Network) -> Host:
    """The host of `FULL` with a network, batch norms, and CIFAR-10 or point clouds.

    Args:
        network: ``resnet18``, ``alexnet`` or ``pointnet``.
    """
    return next(host for host in FULL if host.network == network)
