"""Compute one cell: attack a copy, time it, and read what is left of every mark."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modeldeed._version import __version__
from modeldeed.attacks import AttackData, run
from modeldeed.audit.cell_files import cell_file, cell_key, write_cell
from modeldeed.audit.examiners import Examiner
from modeldeed.audit.grid import Entry
from modeldeed.audit.records import Cell, LeftOut, MarkReading
from modeldeed.data import Dataset
from modeldeed.training import accuracy

__all__ = ["Job", "compute", "measured_accuracy", "versions"]


@dataclass(frozen=True)
class Job:
    """What all cells have in common; it travels to other processes.

    Attributes:
        model: as it shipped, in evaluation mode.
        data: what attacks have.
        examiners: of its marks.
        folder: of the audit; None keeps nothing.
        common: what all cells depend on, for their keys.
        accuracy: of the model as it shipped.
    """

    model: nn.Module
    data: AttackData
    examiners: tuple[Examiner, ...]
    folder: Path | None
    common: dict[str, Any]
    accuracy: float

    def key(self, entry: Entry) -> str:
        """A cell's key."""
        return cell_key(entry, self.common)

    def path(self, entry: Entry) -> Path | None:
        """A cell's file; None where nothing is kept."""
        return None if self.folder is None else self.folder / cell_file(entry, self.key(entry))


def versions() -> dict[str, str]:
    """Of what computes the numbers."""
    return {
        "modeldeed": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def compute(job: Job, entry: Entry) -> Cell | LeftOut:
    """Compute a cell and keep it.

    Returns:
        The cell; or why there is none: the attack refused the model, or broke on it. That is kept
        nowhere, so it is tried again when the audit is started again.
    """
    generator = torch.Generator().manual_seed(entry.seed)
    try:
        if entry.attack is None:
            cell = _cell(job, entry, job.model, {})
        else:
            done = run(entry.attack, job.model, job.data, generator)
            cell = _cell(job, entry, done.model, done.record())
    except Exception as error:  # one that breaks must not end a grid of hours; it is reported
        said = str(error).partition("\n")[0][:300]
        kind = type(error).__name__
        return LeftOut(attack=entry.name, strength=entry.strength, reason=f"{kind}: {said}")
    path = job.path(entry)
    if path is not None:
        write_cell(path, cell)
    return cell


def _cell(job: Job, entry: Entry, model: nn.Module, record: dict[str, Any]) -> Cell:
    dataset = job.data.dataset
    after = job.accuracy if model is job.model else measured_accuracy(model, dataset)
    start = time.perf_counter()
    marks: list[MarkReading] = []
    for examiner in job.examiners:
        marks += examiner.examine(model, job.model)
    return Cell(
        key=job.key(entry),
        attack=entry.name,
        strength=entry.strength,
        seed=entry.seed,
        parameters=record.get("parameters", {}),
        needed=tuple(record.get("needed", ())),
        accuracy_before=job.accuracy,
        accuracy_after=after,
        seconds=record.get("seconds", 0.0),
        examination_seconds=time.perf_counter() - start,
        steps=record.get("steps", 0),
        samples=record.get("samples", 0),
        labels=record.get("labels", 0),
        device=_device(dataset.x_train.device),
        threads=torch.get_num_threads(),
        versions=versions(),
        marks=tuple(marks),
    )


def measured_accuracy(model: nn.Module, dataset: Dataset) -> float | None:
    """On the test part; None where the model has other classes than the data."""
    with torch.no_grad():
        outputs = model(dataset.x_test[:2])
    if outputs.dim() != 2 or outputs.shape[1] != dataset.num_classes:
        return None
    predict: Callable[[Tensor], Tensor] = model
    return accuracy(predict, dataset.x_test, dataset.y_test)


def _device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
