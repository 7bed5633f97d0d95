"""What changes of a fused model, or of what it is shown, leave of its plug-in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from pydantic import JsonValue
from torch import Tensor, nn

from benchmarks.cells import Values
from benchmarks.experiments._canonical_inputs import POINTS, SOUND
from benchmarks.experiments._distortions import Distortion
from benchmarks.experiments._plugin_distortions import PICTURES
from benchmarks.experiments._plugin_robustness_card import AfterChange, PluginRobustness, render
from benchmarks.experiments._trigger_sweep import Half
from benchmarks.experiments.plugin_effectiveness import usable
from benchmarks.plugin_hosts import PLUG_HOSTS, Plugged, PlugHost, Target, plugged
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run
from modeldeed import query
from modeldeed.attacks import Attack, AttackData, FineTune, Prune, Quantize
from modeldeed.plugin.claim import VerificationSamples
from modeldeed.plugin.fusion import FusedModel
from modeldeed.training import accuracy

__all__ = ["plugin_robustness"]

_GROUP = 256
_BENIGN = 1_000
_TESTS = 2_000


@dataclass(frozen=True)
class _Change:
    """One change: of the model, or of what it is shown."""

    name: str
    attack: Attack | None = None
    distortion: Distortion | None = None


@experiment(
    "plugin-robustness",
    "what fine-tuning, pruning, rounding and preprocessing leave of a plug-in",
    {
        "quick": Setting(
            "digits: five minutes on one core",
            tuple(host.name for host in PLUG_HOSTS["quick"]),
            (0,),
        ),
        "standard": Setting(
            "pictures, sound, points: an hour on one core",
            tuple(host.name for host in PLUG_HOSTS["standard"]),
            (0,),
        ),
    },
    table=render,
)
def plugin_robustness(run: Run) -> Mapping[str, JsonValue]:
    """Change the fused model of every plug-in's first target in every way, and ask it."""
    cells: list[AfterChange] = []
    for host in PLUG_HOSTS[run.setting]:
        if host.name not in run.hosts or not usable(run, host):
            continue
        single = replace(host, targets=host.targets[:1])
        choices = single.configuration()
        run.configuration[host.name] = choices
        for seed in run.seeds:
            compute = partial(_measure, single, seed, run)
            values = run.cell(f"{host.name}-{seed}", {**choices, "seed": seed}, compute)
            cells += PluginRobustness.model_validate(values).cells
    return PluginRobustness(cells=tuple(cells)).model_dump(mode="json")


def _measure(host: PlugHost, seed: int, run: Run) -> Values:
    found = _smaller(plugged(host, seed, run.data_root), host.targets[0])
    cells = []
    for change in _changes(host, found):
        cells.append(_after(found, host.targets[0], change, seed))
        run.say(f"{host.name}: {change.name}: {cells[-1].verification_rate:.3f}")
    return PluginRobustness(cells=tuple(cells)).model_dump(mode="json")


def _smaller(found: Plugged, target: Target) -> Plugged:
    """With as much data for attacks as the target was trained on, and not all for accuracies."""
    part = found.dataset.subset(target.train)
    few = replace(part, x_test=part.x_test[:_TESTS], y_test=part.y_test[:_TESTS])
    return replace(found, dataset=few, carriers=found.carriers[:_TESTS])


def _changes(host: PlugHost, found: Plugged) -> Iterator[_Change]:
    yield _Change("nothing")
    recipe = host.targets[0].recipe
    epochs = max(1, recipe.epochs // 3)
    # The attack is SGD, whatever the target was trained with.
    rate = recipe.learning_rate if recipe.optimizer == "sgd" else 0.01
    full = FineTune(epochs=epochs, learning_rate=rate, batch_size=recipe.batch_size)
    yield _Change("FTLL", replace(full, last_layer_only=True))
    yield _Change("FTAL, 0.1× rate", replace(full, learning_rate=0.1 * rate))
    yield _Change("FTAL", full)
    for tenth in range(1, 10):
        yield _Change(f"pruned, {tenth * 10} %", Prune(share=tenth / 10))
    yield _Change("8-bit weights", Quantize(bits=8))
    yield _Change("4-bit weights", Quantize(bits=4))
    yield _Change("fp16 weights", Half())
    for name, distortion in _distortions(found).items():
        yield _Change(name, distortion=distortion)


def _distortions(found: Plugged) -> Mapping[str, Distortion]:
    return {4: PICTURES, 3: POINTS, 2: SOUND}[found.dataset.x_train.dim()]


def _after(found: Plugged, target: Target, change: _Change, seed: int) -> AfterChange:
    data, fused = found.dataset, found.fused[target.network]
    attacked = AttackData(data, found.host.augmentation)
    changed: nn.Module = fused
    steps = 0
    if change.attack is not None:
        generator = torch.Generator().manual_seed(seed)
        changed = change.attack.apply(fused, attacked, generator)
        steps = change.attack.steps(attacked)
    distort = _seeded(change.distortion, seed)
    prepare = _composed(found, distort)
    x_test = data.x_test if change.distortion is None else prepare(found.carriers)
    report = query(
        changed,
        plugin=found.plugin.fusions[target.network],
        carriers=found.carriers,
        owner=found.owner,
        prepare=prepare,
    )
    if report.answers is None or report.answers.log10_e is None:
        raise AssertionError("a query has answers and, stopped by evidence, an e-value")
    batch = target.recipe.batch_size
    return AfterChange(
        host=found.host.name,
        target=target.network,
        seed=seed,
        change=change.name,
        accuracy_before=accuracy(fused, data.x_test, data.y_test),
        accuracy_after=accuracy(changed, x_test, data.y_test),
        verification_rate=_verification_rate(found, target.network, changed, prepare),
        false_activation_rate=_false_activations(changed, x_test),
        queries=report.answers.queries,
        log10_e=report.answers.log10_e,
        verdict=report.verdict,
        steps=steps,
        original_steps=target.recipe.epochs * ((target.train or len(data.y_train)) // batch),
    )


def _seeded(distortion: Distortion | None, seed: int) -> Callable[[Tensor], Tensor]:
    if distortion is None:
        return lambda samples: samples
    generator = torch.Generator().manual_seed(seed)
    return lambda samples: distortion(samples, generator)


def _composed(found: Plugged, distort: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """From canonical integers through a distortion to the target's input."""
    prepare = found.plugin.prepare

    def prepared(samples: Tensor) -> Tensor:
        made = prepare(distort(samples))
        if not isinstance(made, Tensor):
            raise AssertionError("images, points and sound are prepared as tensors")
        return made

    return prepared


@torch.no_grad()
def _verification_rate(
    found: Plugged, network: str, model: nn.Module, prepare: Callable[[Tensor], Tensor]
) -> float:
    matched = []
    for batch in range(found.plugin.fusions[network].anchor.plugin_rule.batches):
        samples: VerificationSamples = found.plugin.verification_samples(
            found.carriers, fusion=network, batch=batch
        )
        matched.append(model(prepare(samples.inputs)).argmax(1) == samples.labels)
    return float(torch.cat(matched).float().mean())


@torch.no_grad()
def _false_activations(model: nn.Module, inputs: Tensor) -> float | None:
    if not isinstance(model, FusedModel):
        return None
    parts = torch.tensor_split(inputs[:_BENIGN], -(-_BENIGN // _GROUP))
    return float(torch.cat([model.recognized(part) >= 0 for part in parts]).float().mean())
