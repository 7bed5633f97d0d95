"""The networks that are forged against: one marked in the published form, one in ours."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from pydantic import JsonValue
from torch import Tensor, nn

from benchmarks.pairs import owner_for
from modeldeed import Owner, Passport, TrainingRule, data, models
from modeldeed.attacks.forgery.published import PublishedClaim, PublishedHeads
from modeldeed.data import Dataset
from modeldeed.training import Augment, Recipe, train

__all__ = ["CIFAR", "DIGITS", "ForgeryHost", "Victim", "as_published", "narrow_alexnet"]

_WIDTHS = (64, 192, 384, 256, 256)
_HALVINGS = 8  # three 2x2 poolings


@dataclass(frozen=True, kw_only=True)
class ForgeryHost:
    """A narrow AlexNet, its data and how it is trained.

    Attributes:
        data: the data set's name.
        divisor: of all widths.
        recipe: how it is trained; its seed is replaced.
        train: training samples; None takes all.
        test: test samples; None takes all.
        augment: what is done to the inputs of every batch.
    """

    data: str
    divisor: int
    recipe: Recipe
    train: int | None = None
    test: int | None = None
    augment: Literal["none", "images"] = "none"

    @property
    def name(self) -> str:
        """How it is called in cards and by ``--only``."""
        return f"{self.data}-alexnet-{self.divisor}th"

    def configuration(self) -> dict[str, JsonValue]:
        """Everything about it, for the card."""
        fields = asdict(self)
        del fields["recipe"]["seed"]
        return fields

    def load(self, root: Path | None) -> Dataset:
        """Its data, normalized.

        Raises:
            DataError: they are missing or malformed.
        """
        dataset = data.load(self.data, root)
        test = len(dataset.y_test) if self.test is None else self.test
        return dataset.subset(self.train, test).normalized()

    def build(self, dataset: Dataset, seed: int) -> nn.Module:
        """The untrained network; the same for the same seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return narrow_alexnet(dataset.num_classes, dataset.input_shape, self.divisor)

    @property
    def augmentation(self) -> Augment | None:
        """The function that augments a batch; None for none."""
        return data.augment_images if self.augment == "images" else None


def narrow_alexnet(classes: int, shape: tuple[int, ...], divisor: int) -> nn.Module:
    """The passport papers' AlexNet with fewer channels, for square images of a multiple of 8.

    Args:
        classes: how many.
        shape: of an input, ``(C, H, W)``.
        divisor: of all widths.
    """
    net = models.alexnet(classes, shape[0])
    before = shape[0]
    for number, width in enumerate(_WIDTHS, 1):
        old = net.get_submodule(f"conv{number}")
        narrow = width // divisor
        size, padding = old.kernel_size, old.padding
        conv = nn.Conv2d(before, narrow, size, padding=padding, bias=False)  # type: ignore[arg-type]
        setattr(net, f"conv{number}", conv)
        setattr(net, f"norm{number}", nn.BatchNorm2d(narrow))
        before = narrow
    net.classifier = nn.Linear(before * (shape[1] // _HALVINGS) ** 2, classes)
    return net


@dataclass(frozen=True)
class Victim:
    """A marked network and its owner.

    Attributes:
        model: in evaluation mode.
        passport: the owner's.
        owner: whose it is.
    """

    model: nn.Module
    passport: Passport
    owner: Owner

    @classmethod
    def trained(cls, host: ForgeryHost, dataset: Dataset, seed: int, *, published: bool) -> Victim:
        """Train a network with its mark: as published (one row, learned heads), or in ours."""
        model = host.build(dataset, seed)
        owner = owner_for(seed)
        form = {"rows": "shared", "head": "learned"} if published else {}
        passport = Passport.issue(
            model,
            owner,
            example=dataset.x_train[:4],
            classes=dataset.classes,
            training=TrainingRule(),
            **form,  # type: ignore[arg-type]
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            recipe = replace(host.recipe, seed=seed)
            for _ in train(model, dataset, recipe, passport=passport, augment=host.augmentation):
                pass
        return cls(model.eval(), passport, owner)

    def bits(self) -> list[Tensor]:
        """The owner's bits, layer by layer."""
        return [secrets.bits for secrets in self.passport.branch.secrets]

    def heads(self) -> PublishedHeads:
        """The owner's trained heads."""
        heads = self.passport.branch.heads

        def made(readings: object) -> list[tuple[Tensor, Tensor]]:
            return [head(r) for head, r in zip(heads, readings, strict=True)]  # type: ignore[call-overload]

        return made


def as_published(victim: Victim) -> PublishedClaim:
    """The genuine owner's claim under the published rule."""
    branch = victim.passport.branch
    passports = []
    for secrets, target in zip(branch.secrets, branch.targets, strict=True):
        rows = secrets.passports.movedim(1 + target.axis, 1)[:, 0]  # one row serves all channels
        passports.append(rows.reshape(2, -1).float())
    return PublishedClaim(
        tuple(passports),
        tuple(bits.float() for bits in victim.bits()),
        victim.heads(),
        {name: (s.mean, s.var) for name, s in branch.statistics.items()},
    )


DIGITS = ForgeryHost(data="digits", divisor=4, recipe=Recipe(epochs=30, learning_rate=0.05))
CIFAR = ForgeryHost(
    data="cifar10",
    divisor=2,
    recipe=Recipe(epochs=8, learning_rate=0.02),
    train=10_000,
    test=2_000,
    augment="images",
)
