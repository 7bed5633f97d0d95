"""Train one network twice from the same start: plainly, and with a passport.

Both see the same batches in the same order, and their epochs are interleaved in one process, so
accuracies are paired and times are compared under the same load.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch
from torch import nn

from benchmarks.hosts import Host
from modeldeed import Owner, Passport, TrainingRule
from modeldeed.data import Dataset
from modeldeed.training import side_by_side, train

__all__ = ["Pair", "owner_for", "train_pair"]


@dataclass(frozen=True)
class Pair:
    """A plain and a marked network of the same start, both in eval mode.

    Attributes:
        plain: trained without a passport.
        marked: trained with it; the passport's host.
        passport: the passport.
        owner: whose it is.
        plain_seconds: training time of each epoch.
        marked_seconds: the same of the marked network.
    """

    plain: nn.Module
    marked: nn.Module
    passport: Passport
    owner: Owner
    plain_seconds: tuple[float, ...]
    marked_seconds: tuple[float, ...]

    @property
    def time_ratio(self) -> float:
        """Marked over plain, the median over epochs: a busy moment spoils one epoch only."""
        pairs = zip(self.marked_seconds, self.plain_seconds, strict=True)
        return median(marked / plain for marked, plain in pairs)


def owner_for(seed: int) -> Owner:
    """An owner that anybody can make again: for measurements only, its secret is public."""
    master = hashlib.sha256(f"modeldeed benchmark owner {seed}".encode()).digest()
    return Owner(master, f"benchmark {seed}")


def train_pair(
    host: Host,
    dataset: Dataset,
    seed: int,
    rule: TrainingRule,
    say: Callable[[str], None],
    *,
    head: str | None = None,
) -> Pair:
    """Train a host plainly and with a passport.

    Args:
        host: what to train.
        dataset: its data, on the device to train on.
        seed: of the start, the order of samples and the owner.
        rule: how the passport is trained.
        say: told after every epoch.
        head: kind of head; None takes the package's default.

    Returns:
        Both networks.
    """
    plain = host.build(dataset, seed)
    marked = copy.deepcopy(plain)
    owner = owner_for(seed)
    options: dict[str, Any] = {} if head is None else {"head": head}
    passport = Passport.issue(
        marked,
        owner,
        example=dataset.x_train[:4],
        classes=dataset.classes,
        training=rule,
        **options,
    )
    on_gpu = dataset.x_train.is_cuda
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if on_gpu else []):
        torch.manual_seed(seed)  # dropout draws from the global generator
        plain_seconds, marked_seconds = _interleaved(
            host, dataset, seed, (plain, marked, passport), say
        )
    return Pair(
        plain.eval(), marked.eval(), passport, owner, tuple(plain_seconds), tuple(marked_seconds)
    )


def _interleaved(
    host: Host,
    dataset: Dataset,
    seed: int,
    pair: tuple[nn.Module, nn.Module, Passport],
    say: Callable[[str], None],
) -> tuple[list[float], list[float]]:
    recipe = replace(host.recipe, seed=seed)
    plain, marked, passport = pair
    augment = host.augmentation
    plainly = train(plain, dataset, recipe, augment=augment)
    markedly = train(marked, dataset, recipe, passport=passport, augment=augment)
    seconds: tuple[list[float], list[float]] = ([], [])
    for one, other in side_by_side(plainly, markedly):
        seconds[0].append(one.seconds)
        seconds[1].append(other.seconds)
        say(
            f"  epoch {one.number}/{recipe.epochs}: plain {one.seconds:.1f} s, loss "
            f"{one.loss:.3f}; marked {other.seconds:.1f} s, loss {other.loss:.3f}"
        )
    return seconds
