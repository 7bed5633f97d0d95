"""What plug-ins are measured on: a kind of input, its data, and trained targets of several shapes.

One plug-in is trained for all targets of a kind of input, as a user would.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from pydantic import JsonValue
from torch import Tensor, nn

from benchmarks.pairs import owner_for
from benchmarks.speech import SPOKEN_DIGITS, SoundNetwork, spoken_digits
from modeldeed import Owner, data, models
from modeldeed.anchor.plugin_rule import BackgroundKind
from modeldeed.data import Dataset, augment_images, augment_points
from modeldeed.plugin.carriers import canonical_carriers
from modeldeed.plugin.detector import DetectorTraining
from modeldeed.plugin.fusion import FusedModel
from modeldeed.plugin.plugin import Plugin
from modeldeed.suspects.answering.preparation import Preparation
from modeldeed.training import Augment, Recipe, train

__all__ = ["PLUG_HOSTS", "PlugHost", "Plugged", "Target", "plugged"]

SPEAKERS = "spoken-speakers"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A network that a plug-in is fused beside.

    Attributes:
        network: a key of the networks below.
        recipe: how it is trained, without any mark.
        train: class-balanced training samples; None takes all.
    """

    network: str
    recipe: Recipe
    train: int | None = None


@dataclass(frozen=True, kw_only=True)
class PlugHost:
    """A kind of input, a plug-in for it, and its targets.

    Attributes:
        data: the data set's name.
        targets: networks, each trained by itself.
        kind: of the backgrounds.
        backgrounds: M.
        training: of the detector.
        benign: training samples that the detector sees as carriers, unlabelled.
        points: of each point cloud, the first so many; None takes all.
        augment: what is done to the inputs of every batch of a target's training.
    """

    data: str
    targets: tuple[Target, ...]
    kind: BackgroundKind = "multi"
    backgrounds: int = 168
    training: DetectorTraining
    benign: int = 4_000
    points: int | None = None
    augment: str = "none"

    @property
    def name(self) -> str:
        """How it is called in cards and by ``--only``."""
        return f"{self.data}-{self.kind}"

    def configuration(self) -> dict[str, JsonValue]:
        """Everything about it, for the card; seeds stand there by themselves."""
        fields = asdict(self)
        for target in fields["targets"]:
            del target["recipe"]["seed"]
        fields["targets"] = list(fields["targets"])
        fields["training"].pop("seed", None)
        return fields

    def load(self, root: Path | None) -> Dataset:
        """Its data, standardized where they are images; test samples take turns by class."""
        if self.data == SPEAKERS:
            return speakers(root)
        dataset = data.load(self.data, root)
        if self.points is not None:
            x_train, x_test = (x[:, : self.points] for x in (dataset.x_train, dataset.x_test))
            return replace(dataset, x_train=x_train, x_test=x_test)
        return dataset.normalized() if dataset.x_train.dim() == 4 else dataset

    def preparation(self, dataset: Dataset) -> Preparation:
        """From canonical integers to a target's input."""
        if dataset.x_train.dim() == 4:
            return Preparation(mean=dataset.mean, std=dataset.std)
        return Preparation()

    @property
    def augmentation(self) -> Augment | None:
        """The function that augments a batch; None for none."""
        functions: dict[str, Augment] = {"images": augment_images, "points": augment_points}
        return functions.get(self.augment)


class _OneLine(nn.Module):
    """A network over pictures of one line, for sound ``(N, L)``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, sound: Tensor) -> Tensor:
        """Return one score per class."""
        scores: Tensor = self.network(sound[:, None, None])
        return scores


def _perceptron(classes: int, channels: int) -> nn.Module:
    del channels
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(128), nn.ReLU(), nn.Linear(128, classes))


_NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {
    "resnet_small": models.resnet_small,
    "perceptron": _perceptron,
    "resnet18w16": lambda classes, channels: models.resnet18(classes, channels, width=16),
    "resnet18w16-imagenet": lambda classes, channels: models.resnet18(
        classes, channels, width=16, form="imagenet"
    ),
    "alexnet": lambda classes, channels: models.alexnet(classes, channels, "batch"),
    "pointnet": lambda classes, _: models.pointnet(classes, "batch"),
    "sound": lambda classes, _: _OneLine(SoundNetwork(classes)),
}

_SGD = Recipe(epochs=6, batch_size=64, learning_rate=0.05)
_DETECTOR = DetectorTraining()
PLUG_HOSTS: dict[str, tuple[PlugHost, ...]] = {
    "quick": (
        PlugHost(
            data="digits",
            targets=(
                Target(network="resnet_small", recipe=Recipe(epochs=15)),
                Target(network="perceptron", recipe=Recipe(epochs=15)),
            ),
            backgrounds=64,
            training=_DETECTOR,
            benign=1_400,
        ),
        PlugHost(
            data="digits",
            kind="generated",
            targets=(Target(network="resnet_small", recipe=Recipe(epochs=15)),),
            backgrounds=64,
            training=_DETECTOR,
            benign=1_400,
        ),
    ),
    "standard": (
        PlugHost(
            data="cifar10",
            targets=(
                Target(network="resnet18w16", recipe=_SGD, train=4_000),
                Target(
                    network="alexnet",
                    recipe=replace(_SGD, epochs=3, learning_rate=0.005),
                    train=2_500,
                ),
            ),
            training=_DETECTOR,
            augment="images",
        ),
        PlugHost(
            data="cifar10",
            kind="generated",
            targets=(Target(network="resnet18w16", recipe=_SGD, train=4_000),),
            training=_DETECTOR,
            augment="images",
        ),
        PlugHost(
            data="imagenette",
            targets=(Target(network="resnet18w16-imagenet", recipe=replace(_SGD, epochs=8)),),
            training=_DETECTOR,
            augment="images",
        ),
        PlugHost(
            data=SPEAKERS,
            targets=(Target(network="sound", recipe=replace(_SGD, epochs=12)),),
            training=_DETECTOR,
        ),
        PlugHost(
            data="ldraw-parts",
            targets=(
                Target(
                    network="pointnet",
                    recipe=replace(_SGD, optimizer="adam", learning_rate=1e-3, batch_size=32),
                ),
            ),
            training=_DETECTOR,
            points=256,
            augment="points",
        ),
    ),
}


@dataclass(frozen=True)
class Plugged:
    """A trained plug-in, its trained targets, and both fused.

    Attributes:
        host: what was trained on.
        dataset: the data, as targets take them.
        owner: whose plug-in it is.
        plugin: trained.
        seconds: that its training took.
        targets: by network, in evaluation mode.
        fused: by network, in evaluation mode.
        carriers: the test part in canonical integers, which no training saw.
    """

    host: PlugHost
    dataset: Dataset
    owner: Owner
    plugin: Plugin
    seconds: float
    targets: dict[str, nn.Module]
    fused: dict[str, FusedModel]
    carriers: Tensor


def plugged(host: PlugHost, seed: int, root: Path | None) -> Plugged:
    """Train a plug-in and its targets, each without the other, and fuse them."""
    dataset, owner = host.load(root), owner_for(seed)
    prepare = host.preparation(dataset)
    plugin = Plugin.issue(
        owner,
        dataset.x_train[:2],
        kind=host.kind,
        backgrounds=host.backgrounds,
        label=f"{host.name}-{seed}",
        prepare=prepare,
    )
    generator = torch.Generator().manual_seed(seed)
    some = torch.randperm(len(dataset.x_train), generator=generator)[: host.benign]
    report = plugin.train(dataset.x_train[some], training=replace(host.training, seed=seed))
    targets = {t.network: _trained(t, host, dataset, seed) for t in host.targets}
    fused = {
        name: plugin.fuse(model, dataset.num_classes, name=name).eval()
        for name, model in targets.items()
    }
    form = plugin.record.backgrounds.input
    carriers = canonical_carriers(dataset.x_test, form, prepare)
    return Plugged(host, dataset, owner, plugin, report.seconds, targets, fused, carriers)


def _trained(target: Target, host: PlugHost, dataset: Dataset, seed: int) -> nn.Module:
    part = dataset.subset(target.train, len(dataset.y_test))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _NETWORKS[target.network](dataset.num_classes, dataset.input_shape[0])
        model(part.x_train[:2])  # shapes of lazy layers
        for _ in train(model, part, replace(target.recipe, seed=seed), augment=host.augmentation):
            pass
    return model.eval()


def speakers(root: Path | None) -> Dataset:
    """Who speaks: the Free Spoken Digit Dataset with its six speakers as classes, ``(N, L)``."""
    said = spoken_digits(root)
    with np.load(Path(root or ".") / f"{SPOKEN_DIGITS}.npz", allow_pickle=False) as arrays:
        speaker = torch.from_numpy(arrays["speaker"].astype(np.int64))
        take = torch.from_numpy(arrays["take"].astype(np.int64))
    test = take < 5  # as `spoken_digits` splits
    return replace(
        said,
        name=SPEAKERS,
        x_train=said.x_train[:, 0, 0],
        x_test=said.x_test[:, 0, 0],
        y_train=speaker[~test],
        y_test=speaker[test],
        classes=tuple(f"speaker {n}" for n in range(int(speaker.max()) + 1)),
    )
