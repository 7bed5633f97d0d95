"""Deed throughput: what registering, checking and judging a model cost by the size of its file."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

from pydantic import JsonValue

from benchmarks.cells import Values
from benchmarks.experiments._deed_throughput_card import DeedThroughput, DeedTimes, render
from benchmarks.experiments._deed_throughput_files import ModelFile, measured
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run

__all__ = ["deed_throughput"]

_REPEATS, _REPEATS_OF_LARGE, _LARGE = 5, 3, 512
_ROOM = 2**30

FILES: dict[str, tuple[ModelFile, ...]] = {
    setting: tuple(ModelFile(mebibytes=size) for size in sizes)
    for setting, sizes in {
        "quick": (1, 16, 64, 256),
        "standard": (1, 16, 256, 1024, 4096),
    }.items()
}


def _setting(name: str, description: str) -> Setting:
    return Setting(description, tuple(file.name for file in FILES[name]), seeds=(0,))


@experiment(
    "deed-throughput",
    "seconds of making, checking and judging a deed by file size, and hashing against SHA-256",
    {
        "quick": _setting("quick", "seconds; up to 256 MiB on disk"),
        "standard": _setting("standard", "minutes; up to 4 GiB on disk and in the page cache"),
    },
    table=render,
)
def deed_throughput(run: Run) -> Mapping[str, JsonValue]:
    """Measure every file of the setting; files lie in ``MODELDEED_SCRATCH`` while they do."""
    seconds = ("blake3", "sha512") if importlib.util.find_spec("blake3") else ("sha512",)
    if "blake3" not in seconds:
        run.note("blake3 is not installed (extra fast): only SHA-512 was measured beside SHA-256")
    cells: list[DeedTimes] = []
    for file in FILES[run.setting]:
        if file.name not in run.hosts or not _has_room(run, file):
            continue
        repeats = _REPEATS if file.mebibytes < _LARGE else _REPEATS_OF_LARGE
        choices: Values = {**asdict(file), "repeats": repeats, "second": list(seconds)}
        run.configuration[file.name] = choices
        for seed in run.seeds:
            compute = partial(_measure, file, seed, repeats, seconds)
            found = run.cell(f"{file.name}-{seed}", {**choices, "seed": seed}, compute)
            cells += DeedThroughput.model_validate(found).cells
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if busy > 1.5 * (os.cpu_count() or 1):
        run.note(
            f"the machine was busy with other work (load {busy:.1f} at the end): digests that run "
            "side by side suffer more from it than one SHA-256"
        )
    return DeedThroughput.of(cells).model_dump(mode="json")


def _scratch() -> str | None:
    """The folder for large files; None for that of the system."""
    return os.environ.get("MODELDEED_SCRATCH")


def _has_room(run: Run, file: ModelFile) -> bool:
    """Tell whether a file fits on the disk; note it where it does not."""
    free = shutil.disk_usage(_scratch() or tempfile.gettempdir()).free
    needed = file.mebibytes * 2**20 + _ROOM
    if free < needed:
        run.note(
            f"{file.name} was skipped: {free / 2**30:.1f} GiB are free, {needed / 2**30:.1f} "
            "needed; set MODELDEED_SCRATCH to a folder with more room"
        )
    return free >= needed


def _measure(file: ModelFile, seed: int, repeats: int, seconds: tuple[str, ...]) -> Values:
    with tempfile.TemporaryDirectory(dir=_scratch(), prefix="modeldeed-deed-") as folder:
        cells = list(measured(file, Path(folder), seed, repeats, seconds))
    return DeedThroughput.of(cells).model_dump(mode="json")
