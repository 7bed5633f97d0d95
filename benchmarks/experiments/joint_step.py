"""Joint step: where the time goes that training with a passport costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F
from pydantic import JsonValue

from benchmarks.experiments._joint_step_card import JointStep, Part, Profile, render
from benchmarks.experiments.overhead import Net, finished
from benchmarks.pairs import owner_for
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run
from modeldeed import Passport, TrainingRule, models

__all__ = ["joint_step"]

NETS: dict[str, tuple[Net, ...]] = {
    "quick": (Net(width=16, bfloat16=False, repeats=9),),
    "standard": (
        Net(width=16, bfloat16=False, repeats=25),
        Net(width=64, bfloat16=False, batch=32, repeats=9),
    ),
    "full": (Net(width=64, bfloat16=False, repeats=49), Net(width=64, bfloat16=True, repeats=49)),
}


@experiment(
    "joint-step",
    "where the time goes that training with a passport costs",
    {
        "quick": Setting("a minute on one core", tuple(n.name for n in NETS["quick"]), (0,)),
        "standard": Setting("minutes on one core", tuple(n.name for n in NETS["standard"]), (0,)),
        "full": Setting("the same on a GPU", tuple(n.name for n in NETS["full"]), (0,), gpu=True),
    },
    table=render,
)
def joint_step(run: Run) -> Mapping[str, JsonValue]:
    """Profile the training of every network of the setting."""
    profiles = []
    for net in NETS[run.setting]:
        if net.name in run.hosts:
            run.configuration[net.name] = asdict(net)
            kept = run.cell(net.name, asdict(net), partial(_measure, net, run))
            profiles.append(Profile.model_validate(kept))
    return JointStep(nets=tuple(profiles)).model_dump(mode="json")


def _measure(net: Net, run: Run) -> dict[str, JsonValue]:
    step = _Step(net, run.device)
    works: dict[str, Callable[[], object]] = {
        "plain": step.plain,
        "reading the weights and the private scales": step.affine,
        "private forward and backward": step.private,
        "signature, forward and backward": step.signature,
        "due": step.due,
    }
    for work in works.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(net.repeats):
        for name, work in works.items():
            finished(run.device)
            start = time.perf_counter()
            work()
            finished(run.device)
            seconds[name].append(time.perf_counter() - start)
    plain = seconds.pop("plain")
    shares = {
        name: median(s / p for s, p in zip(spent, plain, strict=True))
        for name, spent in seconds.items()
    }
    parts = [
        Part(name=name, seconds=median(spent), of_plain=shares[name])
        for name, spent in seconds.items()
        if name != "due"
    ]
    return Profile(
        net=net.name,
        batch=net.batch,
        interval=TrainingRule().interval,
        plain_seconds=median(plain),
        parts=tuple(parts),
        due_of_plain=shares["due"],
    ).model_dump(mode="json")


class _Step:
    """A ResNet-18 in its CIFAR form with a passport in all norms, and the parts of its steps."""

    def __init__(self, net: Net, device: torch.device) -> None:
        self._bfloat16, self._kind = net.bfloat16, device.type
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = models.resnet18(10, 3, width=net.width)
            x, self._y = torch.randn(net.batch, 3, 32, 32), torch.randint(0, 10, (net.batch,))
        layout = torch.channels_last
        self._model = model.to(device, memory_format=layout).train()  # type: ignore[call-overload]
        self._x, self._y = x.to(device, memory_format=layout), self._y.to(device)
        self._passport = Passport.issue(self._model, owner_for(0), example=self._x[:2])
        self._optimizer = torch.optim.SGD(self._model.parameters(), lr=0.01, momentum=0.9)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._kind, torch.bfloat16, enabled=self._bfloat16)

    def plain(self) -> None:
        self._optimizer.zero_grad()
        with self._autocast():
            loss = F.cross_entropy(self._model(self._x), self._y)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()

    def affine(self) -> None:
        branch = self._passport.branch
        branch.affine(branch.readings())

    def private(self) -> None:
        with self._autocast():
            loss = F.cross_entropy(self._passport.private(self._x), self._y)
        loss.backward()  # type: ignore[no-untyped-call]

    def signature(self) -> None:
        self._passport.signature_loss().backward()  # type: ignore[no-untyped-call]

    def due(self) -> None:
        self._passport.steps = 0
        self._optimizer.zero_grad()
        with self._autocast():
            loss = self._passport.joint_loss(self._x, self._y)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
