"""Capacity: how many bits a network carries, what they cost, and what is left of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from pydantic import JsonValue

from benchmarks.cells import Values
from benchmarks.experiments._capacity_card import Capacities, Marked, plot, render
from benchmarks.experiments.ablations import Variant, host_for, measure_plain, train_variant
from benchmarks.hosts import Host
from benchmarks.pairs import owner_for
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run
from modeldeed import TrainingRule, verify
from modeldeed.attacks import AttackData, FineTune
from modeldeed.data import Dataset
from modeldeed.training import accuracy

__all__ = ["GROUPS", "Choice", "capacity"]

_BASE = {"quick": 16, "standard": 16, "full": 64}
_ROBUST = 0.95  # share of the bits that should outlive fine-tuning


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One way to mark.

    Attributes:
        variant: layers and rule.
        factor: of the host's width.
    """

    variant: Variant
    factor: float = 1.0

    @property
    def name(self) -> str:
        """How the table calls it."""
        return self.variant.name


def _layers(name: str, layers: str) -> Choice:
    return Choice(variant=Variant(name=name, layers=layers))


def _margin(margin: float) -> Choice:
    rule = replace(TrainingRule(), margin=margin)
    return Choice(variant=Variant(name=f"every layer, margin {margin:g}", rule=rule))


GROUPS: dict[str, tuple[Choice, ...]] = {
    "layers": (
        *(_layers(f"{part} layer", part) for part in ("every eighth", "every fourth",
                                                      "every second")),
        _layers("every layer", "all"),
    ),
    "width": (
        Choice(variant=Variant(name="every layer, half as wide"), factor=0.5),
        Choice(variant=Variant(name="every layer, twice as wide"), factor=2.0),
    ),
    "margin": (_margin(3.0), _margin(8.0)),
}  # fmt: skip


@experiment(
    "capacity",
    "how many bits a network carries, what they cost in accuracy, and what fine-tuning leaves",
    {
        "quick": Setting("digits: ten minutes on one core", tuple(GROUPS), (0,)),
        "standard": Setting(
            "narrow ResNet-18 on CIFAR-10: two hours on one core", tuple(GROUPS), (0,)
        ),
        "full": Setting("ResNet-18 on CIFAR-10, for a GPU", tuple(GROUPS), (0, 1, 2), gpu=True),
    },
    table=render,
    plot=plot,
)
def capacity(run: Run) -> Mapping[str, JsonValue]:
    """Mark the host in every way under every seed; a plain network of each width comes with it."""
    host = host_for(run.setting)
    cells: list[Marked] = []
    if run.has_data(host.name, host.data):
        dataset = host.load(run.data_root, run.device)
        run.configuration["host"] = host.configuration()
        for seed in run.seeds:
            plain: dict[int, float] = {}  # by width
            for group in run.hosts:
                for choice in GROUPS[group]:
                    width = round(choice.factor * _BASE[run.setting])
                    wide = replace(host, width=width)
                    if width not in plain:
                        plain[width] = _plain(run, wide, dataset, seed)
                    found = _cell(run, wide, dataset, seed, choice.variant)
                    more: Values = {"group": group, "plain_accuracy": plain[width]}
                    cells.append(Marked.model_validate({**found, **more}))
    for cell in cells:
        if cell.matches < cell.bits:
            run.note(f"{cell.variant}, seed {cell.seed}: {cell.matches} of {cell.bits} bits read")
        if cell.tuned_matches < _ROBUST * cell.bits:
            run.note(
                f"{cell.variant}, seed {cell.seed}: fine-tuning leaves {cell.tuned_matches} of "
                f"{cell.bits} bits"
            )
    return Capacities.of(cells).model_dump(mode="json")


def _plain(run: Run, host: Host, dataset: Dataset, seed: int) -> float:
    """Accuracy without a passport."""
    choices: Values = {"host": host.configuration(), "seed": seed}
    compute = partial(measure_plain, host, dataset, seed)
    kept = run.cell(f"plain-w{host.width}-{seed}", choices, compute)
    return float(kept["accuracy"])  # type: ignore[arg-type]


def _cell(run: Run, host: Host, dataset: Dataset, seed: int, variant: Variant) -> Values:
    asked: Values = {
        "host": host.configuration(), "seed": seed, "variant": variant.configuration()
    }  # fmt: skip
    run.configuration[variant.name] = asked
    name = f"{variant.name}-{seed}".replace(" ", "-").replace(",", "")
    return run.cell(name, asked, partial(_measure, host, dataset, seed, variant))


def _measure(host: Host, dataset: Dataset, seed: int, variant: Variant) -> Values:
    """What a record says of one network, but for the group and the plain one."""
    model, passport, seconds = train_variant(host, dataset, seed, variant)
    x, y = dataset.x_test, dataset.y_test
    with torch.no_grad():
        readings = passport.branch.readings()
        private = accuracy(lambda inputs: passport.branch(inputs, readings), x, y)
    recipe = host.recipe
    attack = FineTune(
        epochs=max(1, recipe.epochs // 3),
        learning_rate=recipe.learning_rate,
        batch_size=recipe.batch_size,
        bfloat16=recipe.bfloat16,
    )
    data = AttackData(dataset, host.augmentation)
    tuned = attack.apply(model, data, torch.Generator().manual_seed(seed))
    left = verify(tuned, passport=passport, owner=owner_for(seed)).require_signature()
    signature = passport.signature()
    return {
        "variant": variant.name,
        "seed": seed,
        "width": host.width,
        "weights": sum(p.numel() for p in model.parameters() if p.dim() > 1),
        "bits": signature.bits,
        "matches": signature.matches,
        "median_margin": signature.median_margin or 0.0,
        "public_accuracy": accuracy(model, x, y),
        "private_accuracy": private,
        "tuned_accuracy": accuracy(tuned, x, y),
        "tuned_matches": left.matches,
        "seconds": seconds,
    }
