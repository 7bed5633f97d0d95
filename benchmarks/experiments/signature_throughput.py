"""Signature throughput: how fast level 1 reads a checkpoint, and in how much memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from pydantic import JsonValue

from benchmarks.cells import Values
from benchmarks.experiments._throughput_card import ReadCheckpoint, Throughput, render
from benchmarks.experiments._throughput_reader import Checkpoint, measured
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run

__all__ = ["signature_throughput"]

_REPEATS = 7

CHECKPOINTS: dict[str, tuple[Checkpoint, ...]] = {
    setting: (*(Checkpoint(mebibytes=size) for size in sizes),
              Checkpoint(mebibytes=sizes[1], side="columns"))
    for setting, sizes in {
        "quick": (64, 128, 256),
        "standard": (256, 1024, 4096),
        "full": (1024, 4096, 16384),
    }.items()
}  # fmt: skip


def _setting(name: str, description: str) -> Setting:
    return Setting(description, tuple(c.name for c in CHECKPOINTS[name]), seeds=(0,))


@experiment(
    "signature-throughput",
    "how fast level 1 reads a checkpoint, against a plain sum of its bytes, and its peak memory",
    {
        "quick": _setting("quick", "seconds; up to 256 MiB on disk and in memory"),
        "standard": _setting("standard", "minutes; up to 4 GiB on disk and in memory"),
        "full": _setting("full", "up to 16 GiB on disk and in memory"),
    },
    table=render,
)
def signature_throughput(run: Run) -> Mapping[str, JsonValue]:
    """Measure every checkpoint of the setting."""
    cells = []
    for checkpoint in CHECKPOINTS[run.setting]:
        if checkpoint.name in run.hosts:
            choices: Values = {
                **asdict(checkpoint),
                "threads": torch.get_num_threads(),
                "repeats": _REPEATS,
            }
            run.configuration[checkpoint.name] = choices
            cells += [
                ReadCheckpoint.model_validate(
                    run.cell(
                        f"{checkpoint.name}-{seed}",
                        {**choices, "seed": seed},
                        partial(_measure, checkpoint, seed),
                    )
                )
                for seed in run.seeds
            ]
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if busy > 1.5 * torch.get_num_threads():
        run.note(
            f"the machine was busy with other work (load {busy:.1f} at the end): speeds and ratios "
            "are lower than on a machine of its own; cached blocks suffer more than a plain sum"
        )
    return Throughput.of(cells).model_dump(mode="json")


def _measure(checkpoint: Checkpoint, seed: int) -> Values:
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.write(Path(folder), seed)
        found = measured(checkpoint, Path(folder), torch.get_num_threads(), _REPEATS)
    return found.model_dump(mode="json")
