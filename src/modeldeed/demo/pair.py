"""Train a marked model and its plain twin side by side, so that their times compare fairly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import nn

from modeldeed.data import Dataset
from modeldeed.demo.result import EpochRecord
from modeldeed.models import resnet_small
from modeldeed.owner import Owner
from modeldeed.passport import Passport
from modeldeed.training import Recipe, accuracy, side_by_side, train

__all__ = ["Pair", "fresh_model", "time_ratio", "train_pair"]


@dataclass(frozen=True)
class Pair:
    """Two models with the same beginning.

    Attributes:
        plain: trained without a mark, in evaluation mode.
        marked: trained with one, in evaluation mode.
        passport: the marked one's.
        history: accuracies and seconds, epoch by epoch.
    """

    plain: nn.Module
    marked: nn.Module
    passport: Passport
    history: tuple[EpochRecord, ...]


def fresh_model(dataset: Dataset, seed: int) -> nn.Module:
    """A small residual network with seeded weights; the global random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return resnet_small(dataset.num_classes, dataset.input_shape[0])


def train_pair(
    dataset: Dataset, owner: Owner, *, epochs: int, seed: int, progress: Callable[[str], None]
) -> Pair:
    """Train both models in turn, one epoch each.

    Args:
        dataset: what to learn.
        owner: whose mark it is.
        epochs: passes over the training images.
        seed: of the weights and of the order of samples, the same for both.
        progress: told after every epoch.

    Returns:
        Both models and their history.
    """
    plain, marked = fresh_model(dataset, seed), fresh_model(dataset, seed)
    passport = Passport.issue(
        marked,
        owner,
        example=dataset.x_train[:4],
        label="demo",
        classes=dataset.classes,
    )
    recipe = Recipe(epochs=epochs, seed=seed)
    without = train(plain, dataset, recipe)
    with_mark = train(marked, dataset, recipe, passport=passport)
    history = []
    for plainly, markedly in side_by_side(without, with_mark):
        plain.eval()
        marked.eval()
        record = EpochRecord(
            epoch=plainly.number,
            plain=accuracy(plain, dataset.x_test, dataset.y_test),
            public=accuracy(marked, dataset.x_test, dataset.y_test),
            private=accuracy(passport.private, dataset.x_test, dataset.y_test),
            plain_seconds=plainly.seconds,
            marked_seconds=markedly.seconds,
        )
        history.append(record)
        progress(
            f"epoch {plainly.number} of {epochs}: accuracy {record.plain:.3f} without a mark, "
            f"{record.public:.3f} with it, {record.private:.3f} in the private branch"
        )
    return Pair(plain, marked, passport, tuple(history))


def time_ratio(history: tuple[EpochRecord, ...]) -> float:
    """Seconds of a marked epoch over those of the plain one beside it, median over epochs."""
    return median(record.marked_seconds / record.plain_seconds for record in history)
