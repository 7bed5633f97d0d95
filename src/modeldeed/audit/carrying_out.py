"""From a job and its grid to an audit: plan, what is kept, and what is still to be computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from modeldeed.audit.cell_files import cell_file, read_cell, write_plan
from modeldeed.audit.found import Audit
from modeldeed.audit.grid import Entry
from modeldeed.audit.measuring import Job, versions
from modeldeed.audit.records import Cell, LeftOut, MarkInfo, Plan, Planned
from modeldeed.audit.workers import computed
from modeldeed.training import Recipe

__all__ = ["Progress", "carried_out", "planned"]

Progress = Callable[[int, int], None]
"""Told (cells done, cells in all), those of an earlier run first."""


def planned(
    job: Job,
    entries: Sequence[Entry],
    left_out: Sequence[LeftOut],
    recipe: Recipe | None,
    seeds: Sequence[int],
) -> Plan:
    """What is written down before anything is computed."""
    dataset = job.data.dataset
    steps = None if recipe is None else recipe.epochs * (len(dataset.y_train) // recipe.batch_size)
    marks = [
        MarkInfo(kind=kind, description=description)
        for examiner in job.examiners
        for kind, description in examiner.describe().items()
    ]
    return Plan(
        model=type(job.model).__name__,
        model_digest=job.common["model"],
        data=dataset.name,
        train_samples=len(dataset.y_train),
        test_samples=len(dataset.y_test),
        classes=dataset.num_classes,
        original_steps=steps,
        marks=tuple(marks),
        seeds=tuple(seeds),
        cells=tuple(
            Planned(
                attack=entry.name,
                strength=entry.strength,
                seed=entry.seed,
                file=cell_file(entry, job.key(entry)),
            )
            for entry in entries
        ),
        left_out=tuple(left_out),
        versions=versions(),
    )


def carried_out(
    job: Job,
    plan: Plan,
    entries: Sequence[Entry],
    processes: int,
    progress: Progress | None,
) -> Audit:
    """Compute what is not kept, and write down what was refused."""
    if job.folder is not None:
        write_plan(job.folder, plan)
    tell = progress or (lambda _done, _planned: None)
    keys = [job.key(entry) for entry in entries]
    found = _kept(job, entries)
    to_do = [entry for entry, key in zip(entries, keys, strict=True) if key not in found]
    tell(done := len(entries) - len(to_do), len(entries))
    refused: list[LeftOut] = []
    for result in computed(job, to_do, processes):
        if isinstance(result, Cell):
            found[result.key] = result
        else:
            refused.append(result)
        tell(done := done + 1, len(entries))
    if refused:
        plan = plan.model_copy(update={"left_out": (*plan.left_out, *refused)})
        if job.folder is not None:
            write_plan(job.folder, plan)
    return Audit(plan, tuple(found[key] for key in keys if key in found))


def _kept(job: Job, entries: Sequence[Entry]) -> dict[str, Cell]:
    """Cells of an earlier run, by their keys."""
    found = {}
    for entry in entries:
        path, key = job.path(entry), job.key(entry)
        cell = None if path is None else read_cell(path, key)
        if cell is not None:
            found[key] = cell
    return found
