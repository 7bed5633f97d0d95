"""Every setting of every experiment can be set up: also those that only a GPU can run."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from benchmarks import hosts
from benchmarks.experiments import _audit_grids, _sweep, _trigger_sweep
from benchmarks.experiments._audit_hosts import HOSTS as AUDITED
from benchmarks.hosts import Host
from benchmarks.registry import Experiment, experiments
from modeldeed import Passport, attacks
from modeldeed.data import Dataset

SETTINGS = {"quick", "standard", "full"}
SHAPES = {
    "cifar10": ((3, 32, 32), 10),
    "cifar100": ((3, 32, 32), 100),
    "digits": ((1, 8, 8), 10),
    "ldraw-parts": ((512, 3), 14),
    "spoken-digits": ((1, 1, 4_000), 10),
}


def tables(entry: Experiment) -> dict[str, Mapping[str, Any]]:
    """What an experiment looks up by setting."""
    module = importlib.import_module(entry.measure.__module__)
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, dict) and value and set(value) <= SETTINGS
    }


@pytest.mark.parametrize("entry", experiments(), ids=lambda entry: entry.name)
def test_every_setting_stands_in_every_table(entry: Experiment) -> None:
    for name, table in tables(entry).items():
        assert set(entry.settings) <= set(table), f"{entry.name}: {name}"


def test_that_test_sees_the_tables() -> None:
    seen = {entry.name for entry in experiments() if tables(entry)}
    assert {"audit", "alignment", "coloured", "forgery", "retrofit", "fidelity"} <= seen


def hosts_in(value: Any) -> Iterator[Host]:
    """Hosts in tables, tuples and records."""
    if isinstance(value, Host):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from hosts_in(one)
    elif isinstance(value, tuple | list):
        for one in value:
            yield from hosts_in(one)
    elif isinstance(getattr(value, "host", None), Host):
        yield value.host


def all_hosts() -> list[Host]:
    package = importlib.import_module("benchmarks.experiments")
    found: dict[str, Host] = {}
    names = [f"{package.__name__}.{m.name}" for m in pkgutil.iter_modules(package.__path__)]
    for name in ["benchmarks.hosts", *names]:
        for value in vars(importlib.import_module(name)).values():
            for host in hosts_in(value):
                # How long it is trained and on how much makes no other network.
                bare = replace(host, recipe=hosts.Recipe(epochs=1), train=None, test=None)
                found[repr(bare)] = host
    return list(found.values())


def made_up(name: str) -> Dataset:
    """A few samples in the form of a data set."""
    shape, classes = SHAPES[name]
    x = torch.rand(classes, *shape, generator=torch.Generator().manual_seed(0))
    y = torch.arange(classes)
    return Dataset(
        name=name, x_train=x, y_train=y, x_test=x, y_test=y,
        classes=tuple(f"class {k}" for k in range(classes)),
    )  # fmt: skip


@pytest.mark.parametrize("host", all_hosts(), ids=lambda host: f"{type(host).__name__}-{host.name}")
def test_every_host_can_be_built_and_marked(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    if host.network in ("vit", "llama", "convnext"):
        pytest.importorskip("transformers")
    monkeypatch.setattr(hosts.data, "load", lambda name, _root: made_up(name))
    monkeypatch.setattr(hosts, "spoken_digits", lambda _root: made_up("spoken-digits"))
    dataset = replace(host, train=None, test=None).load(None, torch.device("cpu"))
    model = host.build(dataset, 0).eval()
    with torch.no_grad():
        assert model(dataset.x_test[:2]).shape == (2, dataset.num_classes)
    assert Passport.plan(model, example=dataset.x_train[:2]).targets
    assert host.augmentation is None or host.augmentation(
        dataset.x_train[:2], torch.Generator()
    ).shape == (2, *dataset.input_shape)
    assert host.configuration()["network"] == host.network


def test_the_papers_hosts_are_among_them() -> None:
    names = {host.name for host in all_hosts()}
    assert {host.name for host in hosts.FULL} <= names
    assert {"cifar10-vit-layer", "cifar100-resnet18w16-batch", "cifar100-alexnet-batch"} <= names
    assert {"digits-llama", "cifar10-resnet18", "spoken-digits-sound-batch"} <= names
    for network in ("resnet18", "alexnet", "pointnet"):
        host = hosts.full_host(network)
        assert (host.network, host.norm, host.train) == (network, "batch", None)


@pytest.mark.parametrize("setting", sorted(SETTINGS))
def test_every_attack_of_a_setting_can_be_made(setting: str) -> None:
    assert len({(t.name, t.strength) for t in _sweep.sweep(setting)}) > 20
    for mark in _trigger_sweep.MARKS[setting]:
        assert len({t.name for t in _trigger_sweep.tries(mark, setting)}) > 5
    for host in AUDITED[setting]:
        for groups in _audit_grids.GRIDS[setting].values():
            for group in groups:
                for name in (a for a in group.attacks if isinstance(a, str)):
                    offered = attacks.find(name).strengths(host.recipe)
                    taken = group.strengths if isinstance(group.strengths, Mapping) else {}
                    assert offered
                    assert set(taken.get(name, ())) <= set(offered), name
