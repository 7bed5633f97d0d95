"""How triggers are learned: what each way costs, and what fine-tuning and preprocessing leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial

import torch
from pydantic import JsonValue
from torch import nn

from benchmarks.cells import Values
from benchmarks.experiments._distortions import DISTORTIONS
from benchmarks.experiments._trigger_families_card import Kept
from benchmarks.experiments._trigger_sweep import CIFAR
from benchmarks.experiments._trigger_training_card import Learned, TriggerTrainings, render
from benchmarks.hosts import QUICK, Host, full_host
from benchmarks.pairs import owner_for
from benchmarks.records import Rate, Record
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run
from modeldeed import Preparation, TriggerSet, TriggerTraining
from modeldeed.attacks import Attack, AttackData, FineTune, Prune, Quantize
from modeldeed.data import Dataset
from modeldeed.suspects.answering import open_suspect
from modeldeed.training import accuracy, train

__all__ = ["WAYS", "trigger_training"]

_DIGITS_WAYS = {
    "2 in a batch, as they are": TriggerTraining(per_batch=2, distort=False),
    "a sixteenth, as they are": TriggerTraining(distort=False),
    "a sixteenth, distorted": TriggerTraining(distort=True),
    "a sixteenth, distorted and hardened": TriggerTraining(distort=True, harden=0.1),
}
_SHOWN = ("JPEG 50", "resized to 75 %", "shifted")
# A short training sees each trigger often enough only if a quarter of the batch are triggers.
_CIFAR_WAYS = {
    "a quarter, as they are": TriggerTraining(per_batch=16, distort=False),
    "a quarter, distorted": TriggerTraining(per_batch=16),
    "a quarter, distorted and hardened": TriggerTraining(per_batch=16, harden=0.1),
}
WAYS: dict[str, dict[str, TriggerTraining]] = {
    "quick": _DIGITS_WAYS,
    "standard": _CIFAR_WAYS,
    "full": _DIGITS_WAYS,  # as long a training as theirs
}
_DIGITS = QUICK[0]
HOSTS = {"quick": _DIGITS, "standard": CIFAR, "full": full_host("resnet18")}


class _Plain(Record):
    accuracy: Rate
    seconds: float


@experiment(
    "trigger-training",
    "what each way of learning triggers costs, and what fine-tuning and preprocessing leave",
    {
        "quick": Setting("digits: half an hour on one core", (_DIGITS.name,), (0, 1, 2)),
        "standard": Setting("a narrow ResNet-18: half an hour on one core", (CIFAR.name,), (0,)),
        "full": Setting(
            "the papers' ResNet-18, for a GPU", (HOSTS["full"].name,), (0, 1, 2), gpu=True
        ),
    },
    table=render,
)
def trigger_training(run: Run) -> Mapping[str, JsonValue]:
    """Train a plain model for each seed, and one for each way; attack those."""
    host = HOSTS[run.setting]
    if not run.hosts or not run.has_data(host.name, host.data):
        return TriggerTrainings(cells=()).model_dump(mode="json")
    dataset = host.load(run.data_root, run.device)
    cells = []
    for seed in run.seeds:
        choices: Values = {**host.configuration(), "seed": seed}
        values = run.cell(f"plain-{seed}", choices, partial(_plain, host, dataset, seed))
        plain = _Plain.model_validate(values)
        for way, rule in WAYS[run.setting].items():
            own: Values = {**choices, "training": asdict(rule)}
            run.configuration[way] = own
            compute = partial(_learned, host, dataset, seed, (way, rule), plain)
            name = f"{way.replace(' ', '-').replace(',', '')}-{seed}"
            cells.append(Learned.model_validate(run.cell(name, own, compute)))
    return TriggerTrainings(cells=tuple(cells)).model_dump(mode="json")


def _plain(host: Host, dataset: Dataset, seed: int) -> Values:
    model, seconds = _trained(host, dataset, seed, None)
    found = accuracy(model, dataset.x_test, dataset.y_test)
    return _Plain(accuracy=found, seconds=seconds).model_dump(mode="json")


def _trained(
    host: Host, dataset: Dataset, seed: int, triggers: TriggerSet | None
) -> tuple[nn.Module, float]:
    model = host.build(dataset, seed)
    recipe = replace(host.recipe, seed=seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # dropout draws from the global generator
        epochs = train(model, dataset, recipe, triggers=triggers, augment=host.augmentation)
        seconds = sum(epoch.seconds for epoch in epochs)
    return model.eval(), seconds


def _learned(
    host: Host, dataset: Dataset, seed: int, named: tuple[str, TriggerTraining], plain: _Plain
) -> Values:
    way, rule = named
    triggers = TriggerSet.issue(
        owner_for(seed),
        example=dataset.x_train[:2],
        classes=dataset.num_classes,
        prepare=Preparation(mean=dataset.mean, std=dataset.std),
    )
    triggers.training = rule
    model, seconds = _trained(host, dataset, seed, triggers)
    kept = [_kept("as shipped", model, dataset, triggers)]
    for change in _SHOWN:
        kept.append(_kept(change, model, dataset, triggers, seed))
    for name, attack in _attacks(host).items():
        data = AttackData(dataset, host.augmentation)
        changed = attack.apply(model, data, torch.Generator().manual_seed(seed))
        kept.append(_kept(name, changed, dataset, triggers))
    return Learned(
        host=host.name,
        way=way,
        seed=seed,
        plain_accuracy=plain.accuracy,
        seconds=seconds,
        plain_seconds=plain.seconds,
        kept=tuple(kept),
    ).model_dump(mode="json")


def _attacks(host: Host) -> dict[str, Attack]:
    recipe = host.recipe
    tune = partial(
        FineTune,
        epochs=max(1, recipe.epochs // 2),
        batch_size=recipe.batch_size,
        bfloat16=recipe.bfloat16,
    )
    peak = recipe.learning_rate
    return {
        "fine-tuned, 1× rate": tune(learning_rate=peak),
        "new classifier, 0.1× rate": tune(learning_rate=0.1 * peak, new_classifier=True),
        "new classifier, 1× rate": tune(learning_rate=peak, new_classifier=True),
        "pruned 70 %": Prune(share=0.7),
        "pruned 90 %": Prune(share=0.9),
        "4 bits": Quantize(bits=4),
    }


def _kept(
    change: str, model: nn.Module, dataset: Dataset, triggers: TriggerSet, seed: int = 0
) -> Kept:
    """The match rate under a change of the model, or of the triggers if it is one of theirs."""
    inputs = triggers.inputs
    if change in DISTORTIONS:
        inputs = DISTORTIONS[change](inputs, torch.Generator().manual_seed(seed))
    with open_suspect(model, prepare=triggers.prepare) as suspect:
        answers = suspect.labels(inputs)
    hits = sum(a == b for a, b in zip(answers, triggers.labels.tolist(), strict=True))
    return Kept(
        change=change,
        rate=hits / len(answers),
        accuracy=accuracy(model, dataset.x_test, dataset.y_test),
    )
