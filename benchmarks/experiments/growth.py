"""Growth: what verification costs by parameters, layers, keys, triggers and questions."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from statistics import median

import torch
from pydantic import JsonValue

from benchmarks.cells import Values
from benchmarks.experiments._growth_card import Curve, Growth, Point, plot, render
from benchmarks.experiments._growth_work import WORKS, Call, Work
from benchmarks.memory import peak_bytes
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run

__all__ = ["growth"]

_REPEATS = 5

SIZES: dict[str, dict[str, tuple[int, ...]]] = {
    "quick": {
        "verify": (2**20, 2**23, 2**26),
        "verify, many layers": (4, 32, 256),
        "wrong keys": (1, 10, 100),
        "triggers": (64, 512, 4_096),
        "questions": (32, 256, 2_048),
    },
    "standard": {
        "verify": (2**20, 2**22, 2**24, 2**26, 2**28, 2**30),
        "verify, many layers": (4, 16, 64, 256, 1_024),
        "wrong keys": (1, 10, 100, 1_000),
        "triggers": (64, 512, 4_096, 32_768),
        "questions": (32, 256, 2_048, 8_192),
    },
}
_NAMES = tuple(work.name.replace(", ", "-").replace(" ", "-") for work in WORKS)


@experiment(
    "growth",
    "what verification costs by parameters, layers, keys, triggers and questions, against its "
    "limits",
    {
        "quick": Setting("up to 64 million parameters: a minute on one core", _NAMES, (0,)),
        "standard": Setting("up to a billion parameters: ten minutes on one core", _NAMES, (0,)),
    },
    table=render,
    plot=plot,
)
def growth(run: Run) -> Mapping[str, JsonValue]:
    """Measure every curve of the setting."""
    curves = []
    for name, work in zip(_NAMES, WORKS, strict=True):
        if name in run.hosts:
            sizes = SIZES[run.setting][work.name]
            choices: Values = {"sizes": list(sizes), "repeats": _REPEATS}
            run.configuration[name] = choices
            kept = run.cell(name, choices, partial(_measure, work, sizes))
            curves.append(Curve.model_validate(kept))
    return Growth(curves=tuple(curves)).model_dump(mode="json")


def _measure(work: Work, sizes: tuple[int, ...]) -> Values:
    points = tuple(_point(work, size) for size in sizes)
    curve = Curve(name=work.name, size=work.size, limit=work.limit, points=points)
    return curve.model_dump(mode="json")


def _point(work: Work, size: int) -> Point:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds, limits = _interleaved(work, size)
    finally:
        torch.set_num_threads(threads)
    peak = peak_bytes(_once, work.name, size) if work.memory else None
    return Point(size=size, seconds=seconds, limit_seconds=limits, peak_bytes=peak)


def _interleaved(work: Work, size: int) -> tuple[float, float]:
    prepared = work.prepare(size)
    _timed(prepared.run)  # brings pages and code in
    pairs = [(_timed(prepared.run), _timed(prepared.limit)) for _ in range(_REPEATS)]
    return median(p[0] for p in pairs), prepared.repeat_limit * median(p[1] for p in pairs)


def _timed(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _once(name: str, size: int) -> None:
    """What a process does whose peak memory is looked at: it holds the weights as well."""
    torch.set_num_threads(1)
    next(work for work in WORKS if work.name == name).prepare(size).run()
