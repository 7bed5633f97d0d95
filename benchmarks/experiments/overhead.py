"""Overhead: time and memory that training with a passport costs, by schedule and share."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F
from pydantic import JsonValue
from torch import Tensor

from benchmarks.cells import Values
from benchmarks.experiments._overhead_card import Overhead, Precision, Variant, plot, render
from benchmarks.memory import peak_bytes
from benchmarks.pairs import owner_for
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run
from modeldeed import Passport, TrainingRule, models

__all__ = ["Net", "finished", "overhead"]

_REPEATS = 9
_BATCH = 128
_RULES: dict[str, TrainingRule | None] = {
    "plain": None,
    "default": TrainingRule(),
    "default, both graphs kept": TrainingRule(early=False),
    "pair, half, every 4": TrainingRule(share=0.5, interval=4),
    "pair, whole, every 16": TrainingRule(share=1, interval=16),
    "pair, eighth, every step": TrainingRule(share=0.125, interval=1),
    "pair, sixteenth, every step": TrainingRule(share=0.0625, interval=1),
    "reuse, eighth, every step": TrainingRule(schedule="reuse", share=0.125, interval=1),
    "both, early": TrainingRule(schedule="both", interval=1),
    "both, as published": TrainingRule(schedule="both", interval=1, early=False),
}


@dataclass(frozen=True, kw_only=True)
class Net:
    """What is trained: a ResNet-18 in its CIFAR form, all 20 norms marked."""

    width: int
    bfloat16: bool
    batch: int = _BATCH
    repeats: int = _REPEATS

    @property
    def name(self) -> str:
        """How it is called in cards and by ``--only``."""
        return f"resnet18w{self.width}-{'bfloat16' if self.bfloat16 else 'float32'}"


NETS: dict[str, tuple[Net, ...]] = {
    "quick": (Net(width=16, bfloat16=False, repeats=7),),
    "standard": (
        Net(width=64, bfloat16=True, repeats=7),
        Net(width=32, bfloat16=False, repeats=7),
        Net(width=64, bfloat16=False, repeats=7),
    ),
    "full": (
        Net(width=64, bfloat16=False, repeats=25),
        Net(width=64, bfloat16=True, repeats=25),
    ),
}


@experiment(
    "overhead",
    "time and memory that training with a passport costs, by schedule and share",
    {
        "quick": Setting("minutes on two cores", tuple(n.name for n in NETS["quick"]), (0,)),
        "standard": Setting(
            "the papers' ResNet-18 at batch 128, an hour on two cores",
            tuple(n.name for n in NETS["standard"]),
            (0,),
        ),
        "full": Setting("the same on a GPU", tuple(n.name for n in NETS["full"]), (0,), gpu=True),
    },
    table=render,
    plot=plot,
)
def overhead(run: Run) -> Mapping[str, JsonValue]:
    """Measure every schedule on every network of the setting."""
    results = []
    for net in (n for n in NETS[run.setting] if n.name in run.hosts):
        choices: Values = {
            "net": asdict(net),
            "rules": {name: asdict(rule) if rule else None for name, rule in _RULES.items()},
        }
        run.configuration[net.name] = choices
        values = run.cell(net.name, choices, partial(_measure, net, run))
        results.append(Precision.model_validate(values))
    return Overhead(nets=tuple(results)).model_dump(mode="json")


def _measure(net: Net, run: Run) -> Values:
    seconds = _interleaved_seconds(net, run)
    memory = {}
    for name, rule in _RULES.items():
        run.say(f"  memory: {name}")
        memory[name] = peak_bytes(_two_steps, net, rule, str(run.device))
    plain = seconds["plain"]
    variants = [
        Variant(
            name=name,
            share=rule.share if rule.schedule in ("pair", "reuse") else 1.0,
            interval=rule.interval,
            training_time_ratio=median(m / p for m, p in zip(seconds[name], plain, strict=True)),
            time_ratios=tuple(m / p for m, p in zip(seconds[name], plain, strict=True)),
            peak_memory_ratio=memory[name] / memory["plain"],
            peak_bytes=memory[name],
        )
        for name, rule in _RULES.items()
        if rule
    ]
    by_name = {variant.name: variant for variant in variants}
    return Precision(
        net=net.name,
        batch=net.batch,
        repeats=net.repeats,
        plain_step_seconds=median(plain),
        plain_peak_bytes=memory["plain"],
        training_time_ratio=by_name["default"].training_time_ratio,
        peak_memory_ratio=by_name["default"].peak_memory_ratio,
        published_schedule_time_ratio=by_name["both, as published"].training_time_ratio,
        variants=tuple(variants),
    ).model_dump(mode="json")


# A whole number of every rule's intervals, so that each repeat holds its due steps in proportion.
_CYCLE = 16
_FEWEST = 4


def _steps(rule: TrainingRule | None) -> int:
    """Steps of a rule in a cycle; one that is due in every step shows its cost in a few."""
    return _CYCLE if rule is None else max(_FEWEST, rule.interval)


def _interleaved_seconds(net: Net, run: Run) -> dict[str, list[float]]:
    """Mean seconds of a step, for every rule and repeat; the rules take turns step by step."""
    trainers = {name: Trainer(net, rule, run.device) for name, rule in _RULES.items()}
    for trainer in trainers.values():
        trainer.step()
        trainer.restart()
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    for repeat in range(net.repeats):
        spent = dict.fromkeys(trainers, 0.0)
        for turn in range(_CYCLE):
            for name, trainer in trainers.items():
                if turn % (_CYCLE // _steps(_RULES[name])) == 0:
                    spent[name] += trainer.step()
        for name, total in spent.items():
            seconds[name].append(total / _steps(_RULES[name]))
        ratio = seconds["default"][-1] / seconds["plain"][-1]
        run.say(f"  repeat {repeat + 1}/{net.repeats}: default at {ratio:.3f} of plain")
    return seconds


class Trainer:
    """A network of its own under one rule, on the same batch again and again."""

    def __init__(self, net: Net, rule: TrainingRule | None, device: torch.device) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = models.resnet18(10, 3, width=net.width)
            self._x = torch.randn(net.batch, 3, 32, 32)
            self._y = torch.randint(0, 10, (net.batch,))
        layout = torch.channels_last
        self._model = model.to(device, memory_format=layout).train()  # type: ignore[call-overload]
        self._x = self._x.to(device, memory_format=layout)
        self._y = self._y.to(device)
        self._passport: Passport | None = None
        if rule is not None:
            self._passport = Passport.issue(
                self._model, owner_for(0), example=self._x[:2], training=rule
            )
        self._optimizer = torch.optim.SGD(
            self._model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4
        )
        self._bfloat16 = net.bfloat16

    def restart(self) -> None:
        """Begin the schedule anew."""
        if self._passport:
            self._passport.steps = 0

    def step(self) -> float:
        """One step of training; its seconds."""
        finished(self._x.device)
        start = time.perf_counter()
        self._optimizer.zero_grad()
        with torch.autocast(self._x.device.type, torch.bfloat16, enabled=self._bfloat16):
            loss = self._loss()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        finished(self._x.device)
        return time.perf_counter() - start

    def _loss(self) -> Tensor:
        if self._passport is None:
            return F.cross_entropy(self._model(self._x), self._y)
        return self._passport.joint_loss(self._x, self._y)


def finished(device: torch.device) -> None:
    """Wait for what a GPU still has to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _two_steps(net: Net, rule: TrainingRule | None, device: str) -> None:
    """What a process does whose peak memory is looked at: its first step is always due."""
    torch.set_num_threads(1)
    trainer = Trainer(net, rule, torch.device(device))
    trainer.step()
    trainer.restart()
    trainer.step()
