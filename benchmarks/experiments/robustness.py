"""Robustness: what is left of the bits when others change a marked model, and what that costs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial

import torch
from pydantic import JsonValue
from torch import nn

from benchmarks.cells import Values
from benchmarks.experiments._robustness_card import Attacked, Robustness, plot, render
from benchmarks.experiments._sweep import HOSTS, Learned, Try, learned_data, sweep
from benchmarks.hosts import Host
from benchmarks.pairs import Pair, train_pair
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run
from modeldeed import TrainingRule
from modeldeed.attacks import AttackData
from modeldeed.data import Dataset
from modeldeed.passport.evidence.reading import judge_signature, load_layers, read_signature
from modeldeed.passport.passport import DEFAULT_HEAD
from modeldeed.results import SignatureEvidence
from modeldeed.statistics import Budget
from modeldeed.suspects import open_weights
from modeldeed.training import accuracy

__all__ = ["robustness"]


@dataclass
class _Victim:
    """A trained pair with what attacks need; made when the first cell is not kept."""

    host: Host
    seed: int
    run: Run
    _made: tuple[Pair, dict[Learned, Dataset]] | None = None

    @property
    def made(self) -> tuple[Pair, dict[Learned, Dataset]]:
        if self._made is None:
            own = self.host.load(self.run.data_root, self.run.device)
            pair = train_pair(self.host, own, self.seed, TrainingRule(), self.run.say)
            self._made = pair, learned_data(self.host, own, self.run.data_root)
        return self._made


@experiment(
    "robustness",
    "what fine-tuning, pruning, quantization and resampling leave of the bits, and their price",
    {
        "quick": Setting("digits: ten minutes on one core", (HOSTS["quick"].name,), (0, 1, 2)),
        "standard": Setting(
            "a narrow ResNet-18 on CIFAR-10: under an hour on one core",
            (HOSTS["standard"].name,),
            (0,),
        ),
        "full": Setting(
            "the papers' ResNet-18, for a GPU", (HOSTS["full"].name,), (0, 1, 2), gpu=True
        ),
    },
    table=render,
    plot=plot,
)
def robustness(run: Run) -> Mapping[str, JsonValue]:
    """Attack a marked model of every seed in every way of the sweep."""
    host = HOSTS[run.setting]
    names = [host.data] + (["cifar100"] if host.data == "cifar10" else [])
    cells = []
    if all(run.has_data(host.name, name) for name in names):
        for seed in run.seeds:
            victim = _Victim(host, seed, run)
            cells += [_cell(run, victim, attempt) for attempt in sweep(run.setting)]
    return Robustness(cells=tuple(cells)).model_dump(mode="json")


def _cell(run: Run, victim: _Victim, attempt: Try) -> Attacked:
    name = f"{attempt.name}-{attempt.strength}".replace(" ", "-").replace(",", "")
    name = name.replace("%", "percent").replace("×", "x").replace("–", "").strip("-")
    choices: Values = {
        **victim.host.configuration(),
        "training_rule": asdict(TrainingRule()),
        "head": DEFAULT_HEAD,
        **attempt.configuration(),
    }
    run.configuration[name] = choices
    compute = partial(_measure, victim, attempt)
    return Attacked.model_validate(
        run.cell(f"{name}-{victim.seed}", {**choices, "seed": victim.seed}, compute)
    )


def _measure(victim: _Victim, attempt: Try) -> Values:
    pair, datasets = victim.made
    own, learned = datasets["same"], datasets[attempt.data]
    data = AttackData(learned, victim.host.augmentation)
    attacked, seconds = _attacked(pair.marked, attempt, data, victim.seed)
    twin = _attacked(pair.plain, attempt, data, victim.seed)[0] if attempt.twin else None
    signature = _signature(pair, attacked)
    return Attacked(
        host=victim.host.name,
        seed=victim.seed,
        attack=attempt.name,
        strength=attempt.strength,
        parameters=asdict(attempt.attack) if attempt.attack else {},
        data=attempt.data,
        accuracy_before=accuracy(pair.marked, own.x_test, own.y_test),
        accuracy_after=accuracy(attacked, learned.x_test, learned.y_test),
        plain_accuracy_after=accuracy(twin, learned.x_test, learned.y_test) if twin else None,
        steps=attempt.attack.steps(data) if attempt.attack else 0,
        original_steps=victim.host.recipe.epochs
        * (len(own.y_train) // victim.host.recipe.batch_size),
        seconds=seconds,
        bits=signature.bits,
        matches=signature.matches,
        required=signature.required_matches or signature.bits + 1,
        median_margin=signature.median_margin or 0.0,
        log10_p=signature.log10_p,
        verdict=judge_signature(signature, Budget())[0],
    ).model_dump(mode="json")


def _attacked(
    model: nn.Module, attempt: Try, data: AttackData, seed: int
) -> tuple[nn.Module, float]:
    """The model after the attack, and the attack's wall time."""
    if attempt.attack is None:
        return model, 0.0
    start = time.perf_counter()
    changed = attempt.attack.apply(model, data, torch.Generator().manual_seed(seed))
    return changed, time.perf_counter() - start


def _signature(pair: Pair, suspect: nn.Module) -> SignatureEvidence:
    """The owner's claim, read from the suspect."""
    manifest = pair.passport.manifest
    layers = load_layers(open_weights(suspect), manifest.anchor.targets)
    key = manifest.model_key(pair.owner)
    return read_signature(layers, key, Budget(), rows=manifest.anchor.passport_rule.rows)
