"""What a plug-in costs beside a target: parameters, operations, time and memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median

import torch
from pydantic import JsonValue
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.cells import Values
from benchmarks.experiments._plugin_cost_card import (
    Cost,
    Part,
    PluginCosts,
    Spread,
    Timing,
    render,
)
from benchmarks.experiments._plugin_cost_nets import (
    BESIDE,
    Answered,
    Target,
    detector_of,
    fused,
)
from benchmarks.memory import peak_bytes
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run

__all__ = ["TARGETS", "plugin_cost"]


def _targets(*repeats: tuple[int, int]) -> tuple[Target, ...]:
    return (
        Target(network="resnet18", repeats=repeats),
        Target(network="resnet50", repeats=repeats),
        Target(network="vgg16", norm=None, repeats=repeats),
        Target(network="mobilenet_v2", repeats=repeats),
    )


TARGETS: dict[str, tuple[Target, ...]] = {
    "quick": (Target(network="mobilenet_v2", repeats=((1, 15),)),),
    "standard": _targets((1, 41), (8, 11)),
    "full": _targets((1, 201), (8, 201), (64, 101)),
}


@experiment(
    "plugin-cost",
    "parameters, operations, time and memory that a plug-in adds to a model, and the published one",
    {
        "quick": Setting("MobileNetV2, half a minute on one core", ("mobilenet_v2",), (0,)),
        "standard": Setting(
            "four networks at 224×224, a quarter of an hour on one core",
            tuple(target.name for target in TARGETS["standard"]),
            (0,),
        ),
        "full": Setting(
            "the same on a GPU", tuple(target.name for target in TARGETS["full"]), (0,), gpu=True
        ),
    },
    table=render,
)
def plugin_cost(run: Run) -> Mapping[str, JsonValue]:
    """Measure every target of the setting alone, with a plug-in, and with the published one."""
    costs = []
    for target in (t for t in TARGETS[run.setting] if t.name in run.hosts):
        choices = target.configuration()
        run.configuration[target.name] = choices
        values = run.cell(target.name, choices, partial(_measure, target, run))
        costs.append(Cost.model_validate(values))
    return PluginCosts(targets=tuple(costs)).model_dump(mode="json")


def _measure(target: Target, run: Run) -> Values:
    plain = target.build().to(run.device)
    beside = {name: make(plain, target).to(run.device) for name, make in BESIDE.items()}
    nets = {"target": plain, **beside}
    flops = {name: _flops(net, target.images(1, run.device)) for name, net in nets.items()}
    parameters = {name: sum(p.numel() for p in net.parameters()) for name, net in nets.items()}
    timings = [_timing(nets, target, *sizes, run) for sizes in target.repeats]
    peak = {}
    for name in nets:
        run.say(f"  memory: {name}")
        peak[name] = peak_bytes(_two_forwards, target, name, str(run.device))
    return Cost(
        target=target.name,
        parameters=parameters["target"],
        parameters_added=parameters["fused"] - parameters["target"],
        published_parameters_added=parameters["published"] - parameters["target"],
        flops=flops["target"],
        flops_ratio=flops["fused"] / flops["target"],
        published_flops_ratio=flops["published"] / flops["target"],
        time_ratio=timings[0].time_ratio.median,
        published_time_ratio=timings[0].published_time_ratio.median,
        peak_bytes=peak["target"],
        peak_bytes_added=peak["fused"] - peak["target"],
        published_peak_bytes_added=peak["published"] - peak["target"],
        timings=tuple(timings),
    ).model_dump(mode="json")


def _flops(net: nn.Module, x: Tensor) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(x)
    total: int = counter.get_total_flops()
    return total


def _timing(
    nets: Mapping[str, nn.Module], target: Target, batch: int, repeats: int, run: Run
) -> Timing:
    x = target.images(batch, run.device)
    whole: dict[str, Callable[[], object]] = {name: partial(net, x) for name, net in nets.items()}
    parts = _parts(target, x)
    seconds: dict[str, list[float]] = {name: [] for name in (*whole, *parts)}
    with torch.no_grad():
        for _ in range(repeats):
            for name, call in whole.items():
                call()  # another model ran before: its weights leave the caches
                seconds[name].append(_seconds(call, run.device))
            for name, call in parts.items():
                whole["target"]()  # caches and allocator as a part of the fused model finds them
                seconds[name].append(_seconds(call, run.device))
    typical = {name: median(taken) for name, taken in seconds.items()}
    timing = Timing(
        batch=batch,
        repeats=repeats,
        target_seconds=typical["target"],
        time_ratio=_spread(seconds["fused"], seconds["target"]),
        published_time_ratio=_spread(seconds["published"], seconds["target"]),
        parts=tuple(
            Part(name=name, seconds=typical[name], share=typical[name] / typical["target"])
            for name in parts
        ),
    )
    run.say(f"  batch {batch}: {timing.time_ratio.median:.3f} of the target alone")
    return timing


def _parts(target: Target, x: Tensor) -> dict[str, Callable[[], object]]:
    detector = detector_of(target).to(x.device)
    whole = fused(Answered(target.classes), target).to(x.device)
    return {
        "plug-in": partial(whole, x),
        "detector": partial(detector, x),
        "reduction": partial(detector.reduction, x),
    }


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    if device.type == "cpu":
        start = time.process_time()
        call()
        return time.process_time() - start
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    call()
    torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _spread(ours: list[float], plain: list[float]) -> Spread:
    ratios = [a / b for a, b in zip(ours, plain, strict=True)]
    return Spread(median=median(ratios), lowest=min(ratios), highest=max(ratios))


def _two_forwards(target: Target, name: str, device: str) -> None:
    """What a process does whose peak memory is looked at."""
    torch.set_num_threads(1)
    fused(Answered(target.classes), target)  # what torch loads for it, all of them have loaded
    net = target.build()
    if name != "target":
        net = BESIDE[name](net, target)
    net = net.to(device)
    x = target.images(max(batch for batch, _ in target.repeats), torch.device(device))
    with torch.no_grad():
        for _ in range(2):
            net(x)
