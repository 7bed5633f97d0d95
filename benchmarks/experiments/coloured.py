"""The two ways of reading a bit: what each costs, and what attacks leave of it."""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import torch
from pydantic import JsonValue
from safetensors.torch import save_file
from torch import nn

from benchmarks.cells import Values
from benchmarks.experiments._coloured_card import Coloured, Left, Measured, render
from benchmarks.hosts import QUICK, Host, full_host
from benchmarks.pairs import owner_for
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run
from modeldeed import Owner, Passport, TrainingRule, verify
from modeldeed.attacks import decorrelated, fine_tune, low_variance_resampling, prune
from modeldeed.data import Dataset
from modeldeed.training import Epoch, accuracy, train

__all__ = ["coloured"]


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way of marking.

    Attributes:
        reading: of the passport.
        late: part of the epochs that is trained plainly before the passport is issued.
    """

    reading: str
    late: float = 0.0

    @property
    def name(self) -> str:
        """How it is called in the card."""
        return f"{self.reading}, late" if self.late else self.reading


@dataclass(frozen=True, kw_only=True)
class Attacks:
    """How hard the attacks are.

    Attributes:
        passes: of low-variance resampling with fine-tuning in between.
        epochs: of fine-tuning after each pass, and after pruning.
        away_epochs: of turning rows away from what they were.
        energy: share of the inputs' variance that resampling keeps.
        samples: unlabelled training images that it looks at.
        pruned: share of the weights that is cut.
        penalty: on the rows' cosine with what they were.
    """

    passes: int = 4
    epochs: int
    away_epochs: int
    energy: float = 0.95
    samples: int = 140
    pruned: float = 0.8
    penalty: float = 10.0


_LATE = Way(reading="coloured", late=1 / 6)
_WAYS = {
    "quick": (Way(reading="weights"), Way(reading="coloured"), _LATE),
    "standard": (Way(reading="weights"), _LATE),
    "full": (Way(reading="weights"), Way(reading="coloured"), _LATE),
}
_DIGITS, _CIFAR = QUICK
HOSTS: dict[str, Host] = {
    "quick": _DIGITS,
    "standard": replace(_CIFAR, recipe=replace(_CIFAR.recipe, epochs=6)),
    "full": full_host("resnet18"),
}
_ATTACKS = {
    "quick": Attacks(epochs=15, away_epochs=15),
    "standard": Attacks(epochs=1, away_epochs=3),
    "full": Attacks(epochs=100, away_epochs=100),
}


@experiment(
    "coloured",
    "bits read from weights against bits read where a layer's inputs vary",
    {
        "quick": Setting("a quarter of an hour on two cores", (_DIGITS.name,), (0, 1, 2)),
        "standard": Setting("half an hour on two cores", (_CIFAR.name,), (0,)),
        "full": Setting(
            "the papers' ResNet-18, for a GPU", (HOSTS["full"].name,), (0, 1, 2), gpu=True
        ),
    },
    table=render,
)
def coloured(run: Run) -> Mapping[str, JsonValue]:
    """Train the host plainly and once for each reading, and attack what was marked."""
    host, attacks, ways = HOSTS[run.setting], _ATTACKS[run.setting], _WAYS[run.setting]
    if not run.hosts or not run.has_data(host.name, host.data):
        return Coloured(cells=()).model_dump(mode="json")
    choices: Values = {
        **host.configuration(),
        "training_rule": asdict(TrainingRule()),
        "attacks": asdict(attacks),
        "readings": [asdict(way) for way in ways],
    }
    run.configuration[host.name] = choices
    dataset = host.load(run.data_root, run.device)

    def compute(seed: int) -> Values:
        cells = _measure(host, dataset, seed, ways, attacks, run)
        return {"cells": [cell.model_dump(mode="json") for cell in cells]}

    cells = [
        Measured.model_validate(cell)
        for seed in run.seeds
        for cell in run.cell(f"{host.name}-{seed}", {**choices, "seed": seed},
                             partial(compute, seed))["cells"]  # type: ignore[union-attr]
    ]  # fmt: skip
    return Coloured(cells=tuple(cells)).model_dump(mode="json")


@dataclass
class _Marked:
    """A network on its way to be marked."""

    way: Way
    model: nn.Module
    passport: Passport | None = None
    issue_seconds: float = 0.0

    def issued(self) -> Passport:
        if self.passport is None:
            raise AssertionError("the network was trained to its end without a passport")
        return self.passport

    def epochs(self, host: Host, dataset: Dataset, seed: int) -> Iterator[Epoch]:
        """Train it, plainly first if its passport comes late."""
        recipe = replace(host.recipe, seed=seed)
        late = round(self.way.late * recipe.epochs)
        if late:
            before = replace(recipe, epochs=late)
            yield from train(self.model, dataset, before, augment=host.augmentation)
        start = time.perf_counter()
        self.passport = Passport.issue(
            self.model,
            owner_for(seed),
            example=dataset.x_train[:4],
            classes=dataset.classes,
            reading=self.way.reading,
        )
        self.issue_seconds = time.perf_counter() - start
        yield from train(
            self.model,
            dataset,
            replace(recipe, epochs=recipe.epochs - late),
            passport=self.passport,
            augment=host.augmentation,
        )


def _measure(
    host: Host, dataset: Dataset, seed: int, ways: tuple[Way, ...], attacks: Attacks, run: Run
) -> list[Measured]:
    plain = host.build(dataset, seed)
    marked = [_Marked(way, copy.deepcopy(plain)) for way in ways]
    ratios = _trained(host, dataset, seed, plain, marked, run)
    plain_accuracy = accuracy(plain.eval(), dataset.x_test, dataset.y_test)
    return [
        _examined(host, dataset, seed, each, ratio, plain_accuracy, attacks, run)
        for each, ratio in zip(marked, ratios, strict=True)
    ]


def _trained(
    host: Host, dataset: Dataset, seed: int, plain: nn.Module, marked: list[_Marked], run: Run
) -> list[float]:
    """Train all networks epoch by epoch in turn; marked over plain time of each."""
    recipe = replace(host.recipe, seed=seed)
    runs = [each.epochs(host, dataset, seed) for each in marked]
    times: list[list[float]] = [[] for _ in marked]
    for number, first in enumerate(train(plain, dataset, recipe, augment=host.augmentation)):
        for each, epochs, kept in zip(marked, runs, times, strict=True):
            epoch = next(epochs)
            if number >= round(each.way.late * recipe.epochs):
                kept.append(epoch.seconds / first.seconds)
        run.say(f"  epoch {number + 1}/{recipe.epochs}: plain {first.seconds:.1f} s")
    return [median(kept) for kept in times]


def _examined(
    host: Host,
    dataset: Dataset,
    seed: int,
    marked: _Marked,
    ratio: float,
    plain_accuracy: float,
    attacks: Attacks,
    run: Run,
) -> Measured:
    passport, model = marked.issued(), marked.model.eval()
    x, y = dataset.x_test, dataset.y_test
    with torch.no_grad():
        readings = passport.branch.readings()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        passport.save(folder)
        state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        save_file(state, folder / "shipped.safetensors")
        seconds = min(_seconds(folder, owner_for(seed)) for _ in range(3))
        left = []
        for title, epochs, attacked in _attacked(model, host, dataset, seed, attacks):
            report = verify(attacked, passport=folder, owner=owner_for(seed))
            signature = report.require_signature()
            left.append(
                Left(
                    attack=title,
                    accuracy=accuracy(attacked, x, y),
                    matches=signature.matches,
                    log10_p=signature.log10_p,
                    verdict=report.verdict.value,
                    epochs=epochs,
                )
            )
            run.say(f"  {marked.way.name}, {title}: {left[-1].matches} bits left")
    evidence = passport.signature()
    return Measured(
        host=host.name,
        seed=seed,
        reading=marked.way.name,
        plain_accuracy=plain_accuracy,
        public_accuracy=accuracy(model, x, y),
        private_accuracy=accuracy(lambda inputs: passport.branch(inputs, readings), x, y),
        training_time_ratio=ratio,
        issue_seconds=marked.issue_seconds,
        factor_bytes=sum(factor.numel() for factor in passport.branch.factors.values()),
        verify_seconds=seconds,
        bits=evidence.bits,
        matches=evidence.matches,
        log10_p=evidence.log10_p,
        median_margin=evidence.median_margin or 0.0,
        attacks=tuple(left),
    )


def _seconds(folder: Path, owner: Owner) -> float:
    start = time.perf_counter()
    verify(folder / "shipped.safetensors", passport=folder, owner=owner)
    return time.perf_counter() - start


def _attacked(
    model: nn.Module, host: Host, dataset: Dataset, seed: int, attacks: Attacks
) -> Iterator[tuple[str, int, nn.Module]]:
    """Every attack's name, its epochs of training, and what it made."""
    generator = torch.Generator().manual_seed(seed)
    recipe = replace(host.recipe, seed=seed, epochs=attacks.epochs)
    tuned = partial(
        fine_tune,
        dataset=dataset,
        epochs=attacks.epochs,
        learning_rate=recipe.learning_rate,
        batch_size=recipe.batch_size,
        bfloat16=recipe.bfloat16,
        augment=host.augmentation,
        generator=generator,
    )
    resampled = partial(
        low_variance_resampling,
        calibration=dataset.x_train[: attacks.samples],
        energy=attacks.energy,
        fill="noise",
        generator=generator,
    )
    network = resampled(model)
    yield "resampling, one pass", 0, network
    for number in range(attacks.passes):
        network = tuned(resampled(network) if number else network)
    title = f"resampling, {attacks.passes} passes with fine-tuning"
    yield title, attacks.passes * attacks.epochs, network
    pruned = tuned(prune(model, share=attacks.pruned))
    yield f"pruning {attacks.pruned:.0%} and fine-tuning", attacks.epochs, pruned
    away = replace(recipe, epochs=attacks.away_epochs)
    yield (
        "rows turned away from themselves",
        attacks.away_epochs,
        decorrelated(model, dataset, away, penalty=attacks.penalty, augment=host.augmentation),
    )
