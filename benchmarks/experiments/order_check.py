"""The order check of an anchored reference: how long do channels know where they came from?"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from statistics import median

import torch
from pydantic import JsonValue
from torch import Tensor, nn

from benchmarks.cells import Values
from benchmarks.experiments._order_check_card import Measured, Mixed, Orders, Point, render
from benchmarks.experiments.retrofit import FRACTION, Batches
from benchmarks.experiments.retrofit import QUICK as RETROFIT_QUICK
from benchmarks.hosts import QUICK as CARD_HOSTS
from benchmarks.hosts import Host, full_host
from benchmarks.pairs import owner_for
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run
from modeldeed import Owner, Passport, TrainingRule
from modeldeed.alignment import OrderCheck, check_order
from modeldeed.attacks._layers import re_estimate
from modeldeed.data import Dataset
from modeldeed.passport.passport import DEFAULT_HEAD
from modeldeed.suspects import open_weights
from modeldeed.training import accuracy, train

__all__ = ["Way", "order_check"]

State = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Way:
    """When a network is anchored, and how it is marked.

    Attributes:
        name: stands in the card.
        times: length of the schedule, in units of the host's own.
        late: part of the epochs that is trained plainly before the anchor; 1 for a retrofit.
    """

    name: str
    times: int = 1
    late: float = 0.0


SCRATCH = Way(name="from scratch")
RETROFIT = Way(name="retrofit", late=1.0)
WAYS: dict[str, tuple[Way, ...]] = {
    "quick": (
        SCRATCH,
        Way(name="long schedule", times=3),
        Way(name="long schedule, anchored after a tenth", times=3, late=0.1),
        RETROFIT,
    ),
    "standard": (SCRATCH, RETROFIT),
    "full": (SCRATCH, Way(name="anchored after a tenth", late=0.1), RETROFIT),
}
_DIGITS, _CIFAR = CARD_HOSTS
_ROWS = RETROFIT_QUICK[2]
HOSTS: dict[str, tuple[Host, ...]] = {
    "quick": tuple(replace(h, recipe=replace(h.recipe, epochs=20)) for h in (_DIGITS, _ROWS)),
    "standard": (_CIFAR,),
    "full": (full_host("resnet18"), full_host("alexnet")),
}
STRENGTHS = (0.0, 0.1, 0.2, 0.3, 0.5)


def _setting(name: str, description: str, seeds: tuple[int, ...], *, gpu: bool = False) -> Setting:
    return Setting(description, tuple(host.name for host in HOSTS[name]), seeds, gpu)


@experiment(
    "order-check",
    "share of a reference's channels that still stand where their anchor had them",
    {
        "quick": _setting("quick", "minutes on two cores", (0, 1, 2)),
        "standard": _setting("standard", "a quarter of an hour on two cores", (0,)),
        "full": _setting("full", "the papers' sizes, for a GPU", (0, 1, 2), gpu=True),
    },
    table=render,
)
def order_check(run: Run) -> Mapping[str, JsonValue]:
    """Anchor, train and mark every host in every way, and check its order on the way."""
    chosen = [host for host in HOSTS[run.setting] if host.name in run.hosts]
    usable = [host for host in chosen if run.has_data(host.name, host.data)]
    cells = [cell for host in usable for cell in _host_cells(host, run)]
    for cell in cells:
        if not cell.valid:
            run.note(f"{cell.host}, {cell.way}, seed {cell.seed}: an honest reference fails")
        if cell.permuted_valid:
            run.note(f"{cell.host}, {cell.way}, seed {cell.seed}: a reordered reference passes")
    return Orders(cells=tuple(cells)).model_dump(mode="json")


def _host_cells(host: Host, run: Run) -> list[Measured]:
    choices: Values = {
        **host.configuration(),
        "training_rule": asdict(TrainingRule()),
        "head": DEFAULT_HEAD,
        "step_fraction": FRACTION,
        "strengths": list(STRENGTHS),
        "ways": [asdict(way) for way in WAYS[run.setting]],
    }
    run.configuration[host.name] = choices
    loaded: list[Dataset] = []  # at the first cell that is not kept from an earlier run

    def compute(way: Way, seed: int) -> Values:
        loaded[:] = loaded or [host.load(run.data_root, run.device)]
        return _measure(host, loaded[0], way, seed, run).model_dump(mode="json")

    return [
        Measured.model_validate(
            run.cell(
                f"{host.name}-{way.name.replace(' ', '-').replace(',', '')}-{seed}",
                {**choices, "way": way.name, "seed": seed},
                partial(compute, way, seed),
            )
        )
        for seed in run.seeds
        for way in WAYS[run.setting]
    ]


def _measure(host: Host, dataset: Dataset, way: Way, seed: int, run: Run) -> Measured:
    model = host.build(dataset, seed)
    epochs = way.times * host.recipe.epochs
    late = round(way.late * epochs)
    recipe = replace(host.recipe, epochs=epochs, seed=seed)
    if late:
        _run_through(train(model, dataset, replace(recipe, epochs=late), augment=host.augmentation))
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    owner = owner_for(seed)
    passport = Passport.issue(model, owner, example=dataset.x_train[:4], classes=dataset.classes)
    points: list[Point] = []
    if late == epochs:
        _retrofitted(passport, host, dataset, seed)
    else:
        rest = replace(recipe, epochs=epochs - late)
        moments = _moments(rest.epochs)
        marked = train(model, dataset, rest, passport=passport, augment=host.augmentation)
        for epoch in marked:
            if epoch.number in moments:
                check = _checked(passport, owner, start, model.state_dict())
                points.append(_point(epoch.number, check))
    began = time.perf_counter()
    last = _checked(passport, owner, start, model.state_dict())
    seconds = time.perf_counter() - began
    points.append(_point(FRACTION * epochs if late == epochs else epochs - late, last))
    reordered = _checked(passport, owner, start, _reordered(model.state_dict(), passport, seed))
    evidence = passport.signature()
    mixed = _mixed(host, dataset, start, seed) if late == epochs else ()
    run.say(f"  {way.name}: {last.matched} of {last.bits}, reordered {reordered.matched}")
    return Measured(
        host=host.name,
        seed=seed,
        way=way.name,
        epochs=epochs,
        late=late,
        accuracy=accuracy(model.eval(), dataset.x_test, dataset.y_test),
        bits=last.bits,
        bit_matches=evidence.matches,
        points=tuple(points),
        weakest_layer=min(layer.matched / max(1, layer.bits) for layer in last.layers),
        permuted=reordered.matched,
        valid=last.valid,
        permuted_valid=reordered.valid,
        mixed=mixed,
        seconds=seconds,
    )


def _run_through(epochs: Iterator[object]) -> None:
    for _ in epochs:
        pass


def _moments(epochs: int) -> set[int]:
    """1, 2, 5, 10, 20, 50 …: the epochs before the last at which the order is looked at."""
    return {n * 10**k for k in range(4) for n in (1, 2, 5) if n * 10**k < epochs}


def _retrofitted(passport: Passport, host: Host, dataset: Dataset, seed: int) -> None:
    original = host.recipe.epochs * (len(dataset.y_train) // host.recipe.batch_size)
    passport.embed(
        Batches(host, dataset, torch.Generator().manual_seed(1_000 + seed)),
        steps=max(1, int(FRACTION * original)),
        original_steps=original,
    )


def _checked(passport: Passport, owner: Owner, start: State, reference: State) -> OrderCheck:
    key = passport.manifest.model_key(owner)
    return check_order(passport.manifest.anchor, key, open_weights(start), open_weights(reference))


def _point(epoch: float, found: OrderCheck) -> Point:
    similarity = median(layer.median_similarity for layer in found.layers)
    return Point(epoch=epoch, matched=found.matched, similarity=similarity)


def _orders(passport: Passport, seed: int) -> dict[str, tuple[int, Tensor]]:
    """For every bound weight its axis and a random order of its channels."""
    generator = torch.Generator().manual_seed(10_000 + seed)
    return {
        target.weight: (target.axis, torch.randperm(target.channels, generator=generator))
        for target in passport.manifest.anchor.targets
    }


def _reordered(state: State, passport: Passport, seed: int) -> State:
    return {
        **state,
        **{
            name: state[name].index_select(axis, order)
            for name, (axis, order) in _orders(passport, seed).items()
        },
    }


def _mixed(host: Host, dataset: Dataset, original: State, seed: int) -> tuple[Mixed, ...]:
    """Reorder a network and mix the rows of a random anchor in, ever more of them.

    The anchor here is a fresh network under the same rules; the forger anchored it in time.
    """
    anchored, owner = host.build(dataset, 5_000 + seed), owner_for(5_000 + seed)
    forger = Passport.issue(anchored, owner, example=dataset.x_train[:4], classes=dataset.classes)
    forged_start = anchored.state_dict()
    found = []
    for strength in STRENGTHS:
        mixed = copy.deepcopy(original)
        for name, (axis, order) in _orders(forger, seed).items():
            # In the network's own order, so that it still runs: channel order[i] becomes the i-th.
            back = forged_start[name].index_select(axis, torch.argsort(order))
            dims = [d for d in range(back.dim()) if d != axis]
            length = torch.linalg.vector_norm(mixed[name], dim=dims, keepdim=True)
            back = back / torch.linalg.vector_norm(back, dim=dims, keepdim=True)
            mixed[name] = mixed[name] + strength * length * back
        check = _checked(forger, owner, forged_start, _reordered(mixed, forger, seed))
        rate = _accuracy_of(anchored, mixed, dataset)
        found.append(Mixed(strength=strength, matched=check.matched, accuracy=rate))
    return tuple(found)


def _accuracy_of(model: nn.Module, state: State, dataset: Dataset) -> float:
    network = copy.deepcopy(model)
    network.load_state_dict(state)
    re_estimate(network, dataset.x_train[:1_000])
    return accuracy(network.eval(), dataset.x_test, dataset.y_test)
