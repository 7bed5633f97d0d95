"""Retrofit: what it costs to mark a network that is trained already."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from statistics import fmean

import torch
from pydantic import JsonValue
from torch import Tensor, nn

from benchmarks.cells import Values
from benchmarks.experiments._retrofit_card import Measured, Retrofit, render
from benchmarks.experiments.fidelity import Judge
from benchmarks.hosts import QUICK as FIDELITY_QUICK
from benchmarks.hosts import Host, full_host
from benchmarks.pairs import owner_for
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run
from modeldeed import Passport, TrainingRule
from modeldeed.data import Dataset, batches
from modeldeed.passport.evidence.private_check import SEPARATION, check_branch
from modeldeed.passport.passport import DEFAULT_HEAD
from modeldeed.training import Recipe, accuracy, train

__all__ = ["Batches", "measure_cells", "retrofit"]

FRACTION = 0.05
TARGET_COST = 0.003

_DIGITS, _CIFAR = FIDELITY_QUICK
QUICK = (
    _DIGITS,
    replace(_DIGITS, norm="group", recipe=Recipe(epochs=30, learning_rate=0.02)),
    Host(
        data="digits",
        network="row_transformer",
        norm="layer",
        recipe=Recipe(epochs=60, optimizer="adam", learning_rate=2e-3, weight_decay=1e-4),
    ),
)
STANDARD = (replace(_CIFAR, recipe=replace(_CIFAR.recipe, epochs=20)),)
FULL = (full_host("resnet18"), full_host("alexnet"), full_host("pointnet"))
HOSTS: dict[str, tuple[Host, ...]] = {"quick": QUICK, "standard": STANDARD, "full": FULL}


def _setting(name: str, description: str, seeds: tuple[int, ...], *, gpu: bool = False) -> Setting:
    return Setting(description, tuple(host.name for host in HOSTS[name]), seeds, gpu)


@experiment(
    "retrofit",
    "accuracy and time that marking an already trained network costs",
    {
        "quick": _setting("quick", "minutes on two cores", (0, 1, 2)),
        "standard": _setting("standard", "a quarter of an hour on two cores", (0,)),
        "full": _setting("full", "the papers' sizes, for a GPU", (0, 1, 2), gpu=True),
    },
    table=render,
)
def retrofit(run: Run) -> Mapping[str, JsonValue]:
    """Train every host plainly and mark it afterwards, with frozen statistics and without."""
    chosen = [host for host in HOSTS[run.setting] if host.name in run.hosts]
    usable = [host for host in chosen if run.has_data(host.name, host.data)]
    cells = [cell for host in usable for cell in _host_cells(host, run)]
    for doubt in _doubts(cells):
        run.note(doubt)
    return Retrofit.of(cells).model_dump(mode="json")


def _host_cells(host: Host, run: Run) -> list[Measured]:
    judge = Judge(decoys=20)
    choices: Values = {
        **host.configuration(),
        "training_rule": asdict(TrainingRule()),
        "head": DEFAULT_HEAD,
        "judge": asdict(judge),
        "step_fraction": FRACTION,
    }
    run.configuration[host.name] = choices
    loaded: list[Dataset] = []  # at the first cell that is not kept from an earlier run

    def compute(seed: int) -> Values:
        loaded[:] = loaded or [host.load(run.data_root, run.device)]
        cells = measure_cells(host, loaded[0], seed, judge, run)
        return {"cells": [cell.model_dump(mode="json") for cell in cells]}

    kept = [
        run.cell(f"{host.name}-{seed}", {**choices, "seed": seed}, partial(compute, seed))
        for seed in run.seeds
    ]
    return [measured for values in kept for measured in _cells_of(values)]


def _cells_of(values: Values) -> tuple[Measured, ...]:
    return Retrofit.model_validate({**values, "summary": ()}).cells


@dataclass(frozen=True)
class Batches:
    """Shuffled, augmented batches of a training set, other ones in every pass.

    Attributes:
        host: whose batch size and augmentation they have.
        dataset: the data.
        generator: of order and augmentation.
    """

    host: Host
    dataset: Dataset
    generator: torch.Generator

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        augment, size = self.host.augmentation, self.host.recipe.batch_size
        data = self.dataset
        for x, y in batches(data.x_train, data.y_train, size, self.generator, drop_last=True):
            yield (augment(x, self.generator) if augment else x), y


def measure_cells(
    host: Host, dataset: Dataset, seed: int, judge: Judge, run: Run
) -> list[Measured]:
    """Train one network and mark copies of it.

    Args:
        host: what to train.
        dataset: its data, from `Host.load`.
        seed: of start, order and owner.
        judge: how the private branch is examined.
        run: told of progress.

    Returns:
        One measurement, and where the network has running statistics a second one with them
        frozen.
    """
    plain = host.build(dataset, seed)
    seconds = 0.0
    recipe = replace(host.recipe, seed=seed)
    for epoch in train(plain, dataset, recipe, augment=host.augmentation):
        seconds += epoch.seconds
        run.say(f"  epoch {epoch.number}/{recipe.epochs}: {epoch.seconds:.1f} s")
    tracked = any(hasattr(module, "running_mean") for module in plain.modules())
    return [
        _marked(copy.deepcopy(plain).eval(), host, dataset, seed, judge, seconds, frozen, run)
        for frozen in ([False, True] if tracked else [False])
    ]


def _marked(
    model: nn.Module,
    host: Host,
    dataset: Dataset,
    seed: int,
    judge: Judge,
    seconds: float,
    frozen: bool,
    run: Run,
) -> Measured:
    run.say(f"  marking it{', statistics frozen' if frozen else ''}")
    x, y = dataset.x_test, dataset.y_test
    owner = owner_for(seed)
    passport = Passport.issue(model, owner, example=dataset.x_train[:4], classes=dataset.classes)
    original_steps = host.recipe.epochs * (len(dataset.y_train) // host.recipe.batch_size)
    report = passport.embed(
        Batches(host, dataset, torch.Generator().manual_seed(1_000 + seed)),
        steps=max(1, int(FRACTION * original_steps)),
        original_steps=original_steps,
        evaluate=lambda predict: accuracy(predict, x, y),
        freeze_statistics=frozen,
    )
    anchor, key = passport.manifest.anchor, passport.manifest.model_key(owner)
    branch = check_branch(model, anchor, key, judge.data(dataset), decoys=judge.decoys, seed=seed)
    return Measured(
        host=host.name,
        seed=seed,
        frozen_statistics=frozen,
        plain_accuracy=report.public_before or 0.0,
        public_accuracy=report.public_after or 0.0,
        accuracy_cost=report.accuracy_cost or 0.0,
        private_accuracy=report.private_after or 0.0,
        private_accuracy_reestimated=branch.private_accuracy,
        decoy_accuracy_mean=fmean(branch.decoys),
        decoy_accuracy_max=max(branch.decoys),
        decoys=len(branch.decoys),
        original_steps=original_steps,
        steps=report.steps,
        step_fraction=report.step_fraction or 0.0,
        signature_bits=report.bits,
        signature_matches=report.matches,
        median_margin=report.median_margin or 0.0,
        training_seconds=seconds,
        retrofit_seconds=report.seconds,
    )


def _doubts(cells: Sequence[Measured]) -> list[str]:
    """What makes a cell's numbers say less than they seem to, or misses its target."""
    doubts = []
    for kind, mine in _by_kind(cells).items():
        cost = fmean(cell.accuracy_cost for cell in mine)
        if cost > TARGET_COST:
            doubts.append(f"{kind}: the public branch lost {cost:.4f}, more than {TARGET_COST}")
        if any(cell.signature_matches < cell.signature_bits for cell in mine):
            doubts.append(f"{kind}: not all bits were written")
        worst = max(cell.decoy_accuracy_max for cell in mine)
        private = fmean(cell.private_accuracy_reestimated for cell in mine)
        if worst >= private - SEPARATION:
            doubts.append(
                f"{kind}: a wrong key reaches {worst:.3f}, the owner's {private:.3f} on average; "
                "the private branch hardly tells them apart"
            )
    return doubts


def _by_kind(cells: Sequence[Measured]) -> dict[str, list[Measured]]:
    kinds: dict[str, list[Measured]] = {}
    for cell in cells:
        name = cell.host + (", frozen" if cell.frozen_statistics else "")
        kinds.setdefault(name, []).append(cell)
    return kinds
