"""The families of image triggers: how alike independent models answer, and what survives what."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import combinations
from statistics import fmean

import torch
import torch.nn.functional as F
from pydantic import JsonValue
from torch import Tensor, nn

from benchmarks.cells import Values
from benchmarks.experiments._distortions import DISTORTIONS
from benchmarks.experiments._trigger_families_card import (
    Agreement,
    Kept,
    Marked,
    TriggerFamilies,
    render,
)
from benchmarks.experiments._trigger_sweep import CIFAR
from benchmarks.hosts import QUICK, Host, full_host
from benchmarks.pairs import owner_for
from benchmarks.records import Rate, Record
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run
from modeldeed.anchor.trigger_rule import ImageInput, TriggerRule
from modeldeed.attacks import fine_tune
from modeldeed.data import Dataset, batches
from modeldeed.training import accuracy, train
from modeldeed.triggers.families import names
from modeldeed.triggers.generate import Triggers, batch_key, generate

__all__ = ["trigger_families"]


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a setting measures.

    Attributes:
        host: what is trained.
        marked: families that a model learns; empty for all.
        asked: triggers of a family that plain models are asked.
        learned: triggers that a marked model learns.
        per_batch: triggers appended to each batch of training.
        tuned_epochs: of fine-tuning.
        tuned_rates: parts of the recipe's learning rate.
    """

    host: Host
    marked: tuple[str, ...] = ()
    asked: int = 512
    learned: int = 128
    per_batch: int = 2
    tuned_epochs: int
    tuned_rates: tuple[float, ...] = (0.1, 1.0)

    @property
    def learned_families(self) -> tuple[str, ...]:
        """The families that a model learns."""
        return self.marked or tuple(names("image"))

    def configuration(self) -> Values:
        """Everything about it, for the card."""
        return {
            **asdict(self),
            "host": self.host.configuration(),
            "marked": list(self.learned_families),
            "tuned_rates": list(self.tuned_rates),
        }


_DIGITS = QUICK[0]
CHOICES: dict[str, Choices] = {
    "quick": Choices(host=_DIGITS, tuned_epochs=10),
    "standard": Choices(
        host=CIFAR,
        marked=("blobs/v1", "blocks/v1", "mosaic/v1"),
        per_batch=6,
        tuned_epochs=1,
    ),
    "full": Choices(host=full_host("resnet18"), tuned_epochs=66),
}


@experiment(
    "trigger-families",
    "how alike independent models answer each family of triggers, and what survives what",
    {
        "quick": Setting("ten minutes on one core", (_DIGITS.name,), (0, 1, 2, 3, 4, 5)),
        "standard": Setting("half an hour on one core", (CIFAR.name,), (0, 1, 2)),
        "full": Setting(
            "the papers' ResNet-18, for a GPU", (CHOICES["full"].host.name,), (0, 1, 2), gpu=True
        ),
    },
    table=render,
)
def trigger_families(run: Run) -> Mapping[str, JsonValue]:
    """Ask one plain model per seed all families; train one marked model for each family."""
    choices = CHOICES[run.setting]
    host = choices.host
    if not run.hosts or not run.has_data(host.name, host.data):
        return TriggerFamilies(agreement=(), marked=()).model_dump(mode="json")
    dataset = host.load(run.data_root, run.device)
    configuration = choices.configuration()
    run.configuration[host.name] = configuration

    def cell(name: str, seed: int, compute: Callable[[], Values]) -> Values:
        return run.cell(f"{name}-{seed}", {**configuration, "seed": seed}, compute)

    plain = [
        Plain.model_validate(cell("plain", seed, partial(_plain, choices, dataset, seed)))
        for seed in run.seeds
    ]
    marked = [
        Marked.model_validate(
            cell(
                f"marked-{family.replace('/', '-')}",
                plain[0].seed,
                partial(_marked, choices, dataset, family, plain[0]),
            )
        )
        for family in choices.learned_families
    ]
    found = TriggerFamilies(
        agreement=tuple(agreement(choices, dataset, family, plain) for family in names("image")),
        marked=tuple(marked),
    )
    return found.model_dump(mode="json")


class Plain(Record):
    """A model without triggers.

    Attributes:
        seed: of its start and order of samples.
        accuracy: on the test part.
        answers: to the triggers of each family.
    """

    seed: int
    accuracy: Rate
    answers: dict[str, tuple[int, ...]]


def _plain(choices: Choices, dataset: Dataset, seed: int) -> Values:
    model = _trained(choices.host, dataset, seed, None)
    answers = {}
    for family in names("image"):
        asked = _triggers(dataset, family, choices.asked, 0)
        answers[family] = tuple(_answers(model, _normalized(asked.inputs, dataset)).tolist())
    plain = Plain(
        seed=seed, accuracy=accuracy(model, dataset.x_test, dataset.y_test), answers=answers
    )
    return plain.model_dump(mode="json")


def agreement(
    choices: Choices, dataset: Dataset, family: str, models: Sequence[Plain]
) -> Agreement:
    """How alike models answer the triggers of one family.

    Args:
        choices: of the setting.
        dataset: that they learned.
        family: name.
        models: at least two.

    Returns:
        Means over pairs and models.
    """
    answers = [torch.tensor(model.answers[family]) for model in models]
    pairs = [_alike(a, b, dataset.num_classes) for a, b in combinations(answers, 2)]
    constant = [float(a.bincount().max()) / len(a) for a in answers]
    return Agreement(
        host=choices.host.name,
        family=family,
        triggers=choices.asked,
        models=len(models),
        mean=fmean(raw for raw, _ in pairs),
        highest=max(raw for raw, _ in pairs),
        kappa=fmean(kappa for _, kappa in pairs),
        constant=fmean(constant),
        most_constant=max(constant),
        seconds=min(_seconds(dataset, family) for _ in range(3)),
    )


def _alike(a: Tensor, b: Tensor, classes: int) -> tuple[float, float]:
    """Share of equal answers, and Cohen's kappa."""
    raw = float((a == b).double().mean())
    shares = [x.bincount(minlength=classes).double() / len(x) for x in (a, b)]
    chance = float((shares[0] * shares[1]).sum())
    return raw, 0.0 if chance == 1 else (raw - chance) / (1 - chance)


def _seconds(dataset: Dataset, family: str) -> float:
    start = time.perf_counter()
    _triggers(dataset, family, 128, 0)
    return time.perf_counter() - start


def _marked(choices: Choices, dataset: Dataset, family: str, plain: Plain) -> Values:
    host, seed = choices.host, plain.seed
    triggers = _triggers(dataset, family, choices.learned, seed)
    model = _trained(host, dataset, seed, triggers, choices.per_batch)
    generator = torch.Generator().manual_seed(seed)

    def kept(change: str, network: nn.Module, images: Tensor) -> Kept:
        answers = _answers(network, _normalized(images, dataset))
        return Kept(
            change=change,
            rate=float((answers == triggers.labels).double().mean()),
            accuracy=accuracy(network, dataset.x_test, dataset.y_test),
        )

    found = [kept("as shipped", model, triggers.inputs)]
    for name, distorted in DISTORTIONS.items():
        found.append(kept(name, model, distorted(triggers.inputs, generator)))
    for rate in choices.tuned_rates:
        tuned = fine_tune(
            model,
            dataset,
            epochs=choices.tuned_epochs,
            learning_rate=rate * host.recipe.learning_rate,
            batch_size=host.recipe.batch_size,
            bfloat16=host.recipe.bfloat16,
            augment=host.augmentation,
            generator=generator,
        )
        found.append(kept(f"fine-tuned, {rate:g}× rate", tuned, triggers.inputs))
    marked = Marked(
        host=host.name,
        family=family,
        seed=seed,
        plain_accuracy=plain.accuracy,
        accuracy=found[0].accuracy,
        kept=tuple(found),
    )
    return marked.model_dump(mode="json")


def _triggers(dataset: Dataset, family: str, count: int, seed: int) -> Triggers:
    channels, height, width = dataset.input_shape
    form = ImageInput(channels=channels, height=height, width=width)
    rule = TriggerRule(input=form, family=family, classes=dataset.num_classes, count=count)
    return generate(batch_key(owner_for(seed).seed("triggers"), 0), rule)


def _normalized(images: Tensor, dataset: Dataset) -> Tensor:
    """Bytes as the model wants them, like the data it learned."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (dataset.mean, dataset.std))
    return ((images.float() / 255 - mean) / std).to(dataset.x_train.device)


def _answers(model: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([model(part).argmax(1) for part in torch.split(inputs, 128)]).cpu()


def _trained(
    host: Host, dataset: Dataset, seed: int, triggers: Triggers | None, per_batch: int = 0
) -> nn.Module:
    """A model of the host, in eval mode; with triggers, some are appended to every batch."""
    model = host.build(dataset, seed)
    recipe = replace(host.recipe, seed=seed)
    if triggers is None:
        for _ in train(model, dataset, recipe, augment=host.augmentation):
            pass
        return model.eval()
    optimizer = recipe.optimizer_for(list(model.parameters()))
    steps = recipe.epochs * (len(dataset.y_train) // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=steps
    )
    inputs = _normalized(triggers.inputs, dataset)
    labels = triggers.labels.to(inputs.device)
    generator = torch.Generator().manual_seed(seed)
    # The triggers are shuffled once; which ones meet changes with every round all the same.
    order = torch.randperm(len(labels), generator=generator).repeat(per_batch)
    place = 0
    model.train()
    for _ in range(recipe.epochs):
        for x, y in batches(
            dataset.x_train, dataset.y_train, recipe.batch_size, generator, drop_last=True
        ):
            chosen = order[place : place + per_batch]
            place = (place + per_batch) % len(labels)
            images = host.augmentation(x, generator) if host.augmentation else x
            with torch.autocast(inputs.device.type, torch.bfloat16, enabled=recipe.bfloat16):
                outputs = model(torch.cat([images, inputs[chosen]]))
                loss = F.cross_entropy(outputs, torch.cat([y, labels[chosen]]))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return model.eval()
