"""Surgery: what separates a detector from its target, plainly fused or woven."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from statistics import median

import torch
from pydantic import JsonValue
from torch import Tensor, nn

from benchmarks.cells import Values
from benchmarks.experiments._canonical_inputs import form_of_data
from benchmarks.experiments._plugin_surgery_card import Attempt, Form, PluginSurgery, render
from benchmarks.experiments._surgery import Attack, attacks
from benchmarks.hosts import Host
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run
from modeldeed.anchor.trigger_rule import ImageInput
from modeldeed.data import Dataset
from modeldeed.plugin.backgrounds import Backgrounds, background_rule
from modeldeed.plugin.detector import DetectorTraining
from modeldeed.plugin.fusion import fuse
from modeldeed.plugin.weaving import ThinTwin, Weave, thin_twin, train_twin, weave
from modeldeed.streams import KeyStream
from modeldeed.suspects.answering.preparation import Preparation
from modeldeed.training import Recipe, accuracy, train

__all__ = ["HOSTS", "Surgery", "plugin_surgery"]

_WORST_LOSS = 0.05
_BENIGN = 512
_REPEATS = 15


@dataclass(frozen=True, kw_only=True)
class Surgery:
    """A target, and how the detector is trained that is woven into it.

    Attributes:
        host: network, data and recipe.
        backgrounds: M.
        training: of the detector.
        benign: inputs that the attacks see.
    """

    host: Host
    backgrounds: int
    training: DetectorTraining
    benign: int = _BENIGN

    @property
    def name(self) -> str:
        """How it is called in cards and by ``--only``."""
        return self.host.name

    def configuration(self) -> dict[str, JsonValue]:
        """Everything about it, for the card."""
        training = asdict(self.training)
        del training["seed"]
        return {
            **self.host.configuration(),
            "backgrounds": self.backgrounds,
            "training": training,
            "benign": self.benign,
        }


_TRAINING = DetectorTraining(steps=1500, batch_size=256, other_keys=20, learning_rate=3e-3)
HOSTS: dict[str, tuple[Surgery, ...]] = {
    "quick": (
        Surgery(
            host=Host(data="digits", network="resnet_small", recipe=Recipe(epochs=15)),
            backgrounds=64,
            training=_TRAINING,
        ),
    ),
    "standard": (
        Surgery(
            host=Host(
                data="cifar10",
                network="resnet18",
                width=16,
                train=4_000,
                test=1_000,
                augment="images",
                recipe=Recipe(epochs=6, batch_size=64, learning_rate=0.05),
            ),
            backgrounds=64,
            training=_TRAINING,
        ),
    ),
}

_WOVEN: dict[str, tuple[str, Weave]] = {
    "woven, zero blocks left": ("mixture", Weave(noise=0)),
    "woven": ("mixture", Weave()),
    "woven, target split": ("mixture", Weave(split=1.0)),
    "woven, gate absorbed": ("absorbed", Weave(split=1.0)),
}


@experiment(
    "plugin-surgery",
    "what separates a detector from its target, plainly fused or woven",
    {
        "quick": Setting(
            "digits: half an hour on one busy core", tuple(h.name for h in HOSTS["quick"]), (0,)
        ),
        "standard": Setting(
            "CIFAR-10: hours on one core", tuple(h.name for h in HOSTS["standard"]), (0,)
        ),
    },
    table=render,
)
def plugin_surgery(run: Run) -> Mapping[str, JsonValue]:
    """Fuse one detector in every form, and try to separate it by every attack."""
    forms: list[Form] = []
    for surgery in (each for each in HOSTS[run.setting] if each.name in run.hosts):
        if not run.has_data(surgery.name, surgery.host.data):
            continue
        choices = surgery.configuration()
        run.configuration[surgery.name] = choices
        for seed in run.seeds:
            compute = partial(_measure, surgery, seed, run)
            values = run.cell(f"{surgery.name}-{seed}", {**choices, "seed": seed}, compute)
            forms += PluginSurgery.model_validate(values).forms
    return PluginSurgery(forms=tuple(forms)).model_dump(mode="json")


@dataclass(frozen=True)
class _Patient:
    """A trained target, a trained detector, and what both are asked."""

    surgery: Surgery
    seed: int
    dataset: Dataset
    target: nn.Module
    twin: ThinTwin
    preparation: Preparation
    classes: Tensor
    samples: Tensor

    def rate(self, model: nn.Module) -> float:
        """Backgrounds answered with their classes, each on one test carrier."""
        return accuracy(model, self.samples, self.classes)

    def accuracy(self, model: nn.Module) -> float:
        """On the test part."""
        return accuracy(model, self.dataset.x_test, self.dataset.y_test)

    @property
    def least(self) -> float:
        """The lowest match rate that is still taken for a mark."""
        return (1 + 1 / self.dataset.num_classes) / 2

    def forms(self) -> Iterator[tuple[str, nn.Module]]:
        """The target with its detector, fused in every way."""
        known = self.dataset.num_classes
        yield (
            "plain",
            fuse(
                self.target,
                self.twin,
                self.classes,
                num_classes=known,
                preparation=self.preparation,
            ).eval(),
        )
        example, key = self.dataset.x_train[:2], _key(self.seed, "weaving")
        for name, (gate, options) in _WOVEN.items():
            yield (
                name,
                weave(
                    self.target,
                    self.twin,
                    example,
                    self.classes,
                    key=key,
                    gate=gate,  # type: ignore[arg-type]
                    options=options,
                ),
            )


def _key(seed: int, purpose: str) -> bytes:
    return hashlib.sha256(f"modeldeed benchmark {purpose} {seed}".encode()).digest()


def _measure(surgery: Surgery, seed: int, run: Run) -> Values:
    patient = _operated(surgery, seed, run)
    plain: nn.Module | None = None
    forms = []
    for name, model in patient.forms():
        plain = plain or model
        forms.append(_form(patient, name, model, plain, run))
    return PluginSurgery(forms=tuple(forms)).model_dump(mode="json")


def _operated(surgery: Surgery, seed: int, run: Run) -> _Patient:
    host = surgery.host
    dataset = host.load(run.data_root, run.device)
    target = host.build(dataset, seed)
    for _ in train(target, dataset, replace(host.recipe, seed=seed), augment=host.augmentation):
        pass
    target.eval()
    form = form_of_data(dataset)
    carriers = form.canonical(dataset.x_train), form.canonical(dataset.x_test)
    rule = background_rule(
        ImageInput(
            channels=carriers[0].shape[1],
            height=carriers[0].shape[2],
            width=carriers[0].shape[3],
        ),
        count=surgery.backgrounds,
    )
    backgrounds = Backgrounds(_key(seed, "backgrounds"), rule)
    preparation = Preparation(mean=dataset.mean, std=dataset.std)
    twin = thin_twin(target, dataset.x_train[:2], rule.count, preparation=preparation)
    report = train_twin(
        twin, backgrounds, carriers[0], training=replace(surgery.training, seed=seed)
    )
    run.say(f"{surgery.name}: detector trained in {report.seconds:.0f} s: {report}")
    classes = KeyStream(_key(seed, "classes"), "classes").integers(dataset.num_classes, rule.count)
    indices = torch.arange(rule.count)
    samples = form.prepare(backgrounds.place(carriers[1][indices % len(carriers[1])], indices))
    return _Patient(surgery, seed, dataset, target, twin, preparation, classes, samples)


def _form(patient: _Patient, name: str, model: nn.Module, plain: nn.Module, run: Run) -> Form:
    asked = torch.cat([patient.dataset.x_test, patient.samples])
    benign = len(patient.dataset.x_test)
    with torch.no_grad():
        ours, theirs = model(asked), plain(asked)
        original = patient.target(asked[:benign])
    largest = float(original.abs().max())
    attempts = []
    for attack in attacks(patient.dataset.num_classes, plain=model is plain):
        attempts.append(_attempt(patient, model, attack))
        run.say(f"{name}: {attempts[-1]}")
    return Form(
        host=patient.surgery.name,
        seed=patient.seed,
        form=name,
        verification_rate=patient.rate(model),
        accuracy=patient.accuracy(model),
        largest_difference=None if model is plain else _largest(ours - theirs) / largest,
        largest_benign_difference=_largest(ours[:benign] - original) / largest,
        same_answers=float((ours.argmax(1) == theirs.argmax(1)).double().mean()),
        time_ratio=_time_ratio(model, patient.target, asked[:128]),
        parameters_ratio=_parameters(model) / _parameters(patient.target),
        attempts=tuple(attempts),
    )


def _largest(difference: Tensor) -> float:
    return float(difference.abs().max())


def _attempt(patient: _Patient, model: nn.Module, attack: Attack) -> Attempt:
    before = patient.accuracy(model)
    benign = patient.dataset.x_train[: patient.surgery.benign]
    start = time.perf_counter()
    changed = attack.apply(copy.deepcopy(model), benign)
    seconds = time.perf_counter() - start
    left = model if changed is None else changed.eval()
    rate, after = patient.rate(left), patient.accuracy(left)
    return Attempt(
        attack=attack.name,
        verification_rate=rate,
        accuracy=after,
        found=rate < patient.least and after >= before - _WORST_LOSS,
        seconds=seconds,
    )


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _time_ratio(model: nn.Module, target: nn.Module, inputs: Tensor) -> float:
    """Of a forward; both take turns."""
    ratios = []
    with torch.no_grad():
        for _ in range(_REPEATS + 2):
            seconds = [_seconds(partial(each, inputs)) for each in (model, target)]
            ratios.append(seconds[0] / seconds[1])
    return median(ratios[2:])


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
