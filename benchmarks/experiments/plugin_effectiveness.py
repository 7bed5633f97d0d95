"""Whether a plug-in answers its keyed questions, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from statistics import median

import torch
from pydantic import JsonValue
from torch import Tensor, nn

from benchmarks.cells import Values
from benchmarks.experiments._plugin_effectiveness_card import (
    Beside,
    Null,
    PluginEffectiveness,
    render,
)
from benchmarks.experiments._plugin_nulls import null_suspects
from benchmarks.pairs import owner_for
from benchmarks.plugin_hosts import PLUG_HOSTS, SPEAKERS, Plugged, PlugHost, plugged
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run
from benchmarks.speech import SPOKEN_DIGITS
from modeldeed import Owner, query
from modeldeed.plugin.fusion import FusedModel
from modeldeed.plugin.plugin import Plugin
from modeldeed.results import AnswerEvidence, Verdict
from modeldeed.statistics import information_limit, match_interval
from modeldeed.training import accuracy

__all__ = ["plugin_effectiveness", "usable"]

_OTHER_OWNERS = 20
_GROUP = 256
_FURTHER = 2_000
"""Test samples for targets after a plug-in's first: its silence does not depend on the target."""


def _names(setting: str) -> tuple[str, ...]:
    return tuple(host.name for host in PLUG_HOSTS[setting])


@experiment(
    "plugin-effectiveness",
    "a plug-in's success on verification samples, its silence elsewhere, and the judge's verdicts",
    {
        "quick": Setting("digits: five minutes on one core", _names("quick"), (0, 1, 2)),
        "standard": Setting(
            "pictures, sound, points: an hour on one core", _names("standard"), (0,)
        ),
    },
    table=render,
)
def plugin_effectiveness(run: Run) -> Mapping[str, JsonValue]:
    """Train each plug-in once for all of its targets, and examine every fused model."""
    cells: list[Beside] = []
    for host in PLUG_HOSTS[run.setting]:
        if host.name not in run.hosts or not usable(run, host):
            continue
        choices = host.configuration()
        run.configuration[host.name] = choices
        for seed in run.seeds:
            compute = partial(_measure, host, seed, run)
            values = run.cell(f"{host.name}-{seed}", {**choices, "seed": seed}, compute)
            cells += PluginEffectiveness.model_validate(values).cells
    return PluginEffectiveness(cells=tuple(cells)).model_dump(mode="json")


def usable(run: Run, host: PlugHost) -> bool:
    """Tell whether a host's data are there; note it when no folder was named."""
    if host.data != SPEAKERS:
        return run.has_data(host.name, host.data)
    if run.data_root is None:
        run.note(f"{host.name} was skipped: {SPOKEN_DIGITS} needs --data-root or MODELDEED_DATA")
        return False
    return True


def _measure(host: PlugHost, seed: int, run: Run) -> Values:
    found = plugged(host, seed, run.data_root)
    cells = tuple(
        _beside(found, network, seed, None if place == 0 else _FURTHER)
        for place, network in enumerate(found.targets)
    )
    return PluginEffectiveness(cells=cells).model_dump(mode="json")


def _beside(found: Plugged, network: str, seed: int, tests: int | None) -> Beside:
    data, plugin = found.dataset, found.plugin
    x_test, y_test = data.x_test[:tests], data.y_test[:tests]
    target, fused = found.targets[network], found.fused[network]
    success, sure = _success(found, network)
    active, identical, usual = _benign(fused, target, x_test)
    others = _other_keys(found, fused, seed)
    asked = [_asked(found, network, number) for number in range(_batches(plugin, network))]
    return Beside(
        host=found.host.name,
        target=network,
        seed=seed,
        backgrounds=len(plugin),
        classes=data.num_classes,
        detector_parameters=sum(p.numel() for p in plugin.detector.parameters()),
        training_seconds=found.seconds,
        accuracy=accuracy(target, x_test, y_test),
        fused_accuracy=accuracy(fused, x_test, y_test),
        success_rate=float(success.float().mean()),
        verification_samples=len(success),
        false_activation_rate=float(active.float().mean()),
        false_activation_upper=match_interval(int(active.sum()), len(active))[1],
        benign_samples=len(active),
        benign_outputs_identical=identical,
        other_key_rate=float(others.float().mean()),
        other_key_upper=match_interval(int(others.sum()), len(others))[1],
        other_key_samples=len(others),
        confidence_distance=_distance(sure, usual),
        queries=tuple(evidence.queries for evidence, _ in asked),
        median_queries=median(evidence.queries for evidence, _ in asked),
        information_limit=information_limit(data.num_classes),
        verdicts=tuple(verdict for _, verdict in asked),
        nulls=_nulls(found, network, seed),
    )


def _batches(plugin: Plugin, network: str) -> int:
    return plugin.fusions[network].anchor.plugin_rule.batches


def _asked(found: Plugged, network: str, number: int) -> tuple[AnswerEvidence, Verdict]:
    report = query(
        found.fused[network],
        plugin=found.plugin.fusions[network],
        carriers=found.carriers,
        owner=found.owner,
        prepare=found.plugin.prepare,
        batches=(number,),
    )
    if report.answers is None:
        raise AssertionError("a query's report has answers")
    return report.answers, report.verdict


@torch.no_grad()
def _success(found: Plugged, network: str) -> tuple[Tensor, Tensor]:
    """Whether each sample was answered with its class, and the top probability."""
    matched, sure = [], []
    plugin, fused = found.plugin, found.fused[network]
    # Four parts of the carriers, so that every background lies under four of them.
    for part in found.carriers.tensor_split(4):
        for batch in range(_batches(plugin, network)):
            samples = plugin.verification_samples(part, fusion=network, batch=batch)
            scores = fused(plugin.prepare(samples.inputs))
            matched.append(scores.argmax(1) == samples.labels)
            sure.append(scores.softmax(1).amax(1))
    return torch.cat(matched), torch.cat(sure)


@torch.no_grad()
def _benign(fused: FusedModel, target: nn.Module, inputs: Tensor) -> tuple[Tensor, bool, Tensor]:
    """Which benign samples activate, whether all others are left alone, the usual confidence."""
    active, identical, sure = [], True, []
    for part in torch.tensor_split(inputs, -(-len(inputs) // _GROUP)):
        seen = fused.recognized(part) >= 0
        answer, plain = fused(part), target(part)
        identical = identical and torch.equal(answer[~seen], plain[~seen])
        active.append(seen)
        sure.append(plain.softmax(1).amax(1))
    return torch.cat(active), identical, torch.cat(sure)


@torch.no_grad()
def _other_keys(found: Plugged, fused: FusedModel, seed: int) -> Tensor:
    """Which verification samples of other owners are taken for the owner's."""
    active, rule = [], found.plugin.record.backgrounds
    for number in range(_OTHER_OWNERS):
        rival = Plugin.issue(
            _stranger(seed, number), rule.input, kind=rule.kind, backgrounds=max(2, rule.count)
        )
        order = (torch.arange(len(rival)) + number * len(rival)) % len(found.carriers)
        samples = found.plugin.prepare(rival.samples(found.carriers[order]))
        active.append(fused.recognized(samples) >= 0)
    return torch.cat(active)


def _stranger(seed: int, number: int) -> Owner:
    return owner_for(1_000_000 + 1_000 * seed + number)


def _distance(one: Tensor, other: Tensor) -> float:
    """The Kolmogorov–Smirnov statistic of two samples."""
    from scipy.stats import ks_2samp  # noqa: PLC0415

    return float(ks_2samp(one.numpy(), other.numpy()).statistic)


def _nulls(found: Plugged, network: str, seed: int) -> tuple[Null, ...]:
    manifest = found.plugin.fusions[network]
    suspects = null_suspects(found.targets[network], found.dataset, seed)
    claims = [(name, suspect, found.owner) for name, suspect in suspects.items()]
    fused = found.fused[network]
    claims += [(f"claim of owner {n}", fused, _stranger(seed, n)) for n in range(_OTHER_OWNERS)]
    results = []
    for name, suspect, owner in claims:
        report = query(
            suspect,
            plugin=manifest,
            carriers=found.carriers,
            owner=owner,
            prepare=found.plugin.prepare,
        )
        if report.answers is None:
            raise AssertionError("a query's report has answers")
        results.append(
            Null(
                name=name,
                matches=report.answers.matches,
                queries=report.answers.queries,
                verdict=report.verdict,
            )
        )
    return tuple(results)
