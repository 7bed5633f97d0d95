"""Run one experiment in one setting and make its card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from pathlib import Path

import torch

from benchmarks import environment
from benchmarks.cards import Card
from benchmarks.cells import CellStore, Values
from benchmarks.registry import Experiment, Setting
from benchmarks.run import Run
from modeldeed.errors import OptionError

__all__ = ["PARTIAL", "Choices", "run_experiment"]

PARTIAL = ".partial"


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the command line decides.

    Attributes:
        setting: the experiment's size.
        results: folder of the cards; unfinished runs keep their cells below it.
        data_root: folder of the data sets.
        seeds: in place of the setting's.
        only: names or globs of hosts.
        device: ``cpu``, ``cuda`` or ``auto``.
        threads: of torch; None leaves them.
        fresh: take up nothing from an earlier run.
    """

    setting: str
    results: Path
    data_root: Path | None = None
    seeds: tuple[int, ...] | None = None
    only: tuple[str, ...] = ()
    device: str = "auto"
    threads: int | None = None
    fresh: bool = False


def run_experiment(entry: Experiment, choices: Choices, say: Callable[[str], None]) -> Card:
    """Run an experiment.

    Args:
        entry: which.
        choices: how.
        say: told of progress, one line at a time.

    Returns:
        Its card, not yet written.

    Raises:
        OptionError: a choice does not fit the experiment or the machine.
        DataError: data are missing or malformed.
    """
    setting = entry.setting(choices.setting)
    hosts = _chosen(setting, choices.only)
    device = _device(choices.device, setting)
    if choices.threads:
        torch.set_num_threads(choices.threads)
    # Denormal numbers late in training make a CPU several times slower and mean nothing.
    torch.set_flush_denormal(True)
    machine, made_with = environment.hardware(device), environment.versions()
    commit = environment.commit()
    common: Values = {
        "experiment": entry.name,
        "revision": entry.revision,
        "setting": choices.setting,
        "code": environment.code_digest(),
        "hardware": machine.model_dump(),
        "versions": made_with.model_dump(),
    }
    run = Run(
        setting=choices.setting,
        hosts=hosts,
        seeds=setting.seeds if choices.seeds is None else choices.seeds,
        device=device,
        data_root=choices.data_root,
        store=CellStore(choices.results / PARTIAL / entry.name, common, fresh=choices.fresh),
        say=say,
    )
    if hosts != setting.hosts:
        run.note(f"only {len(hosts)} of {len(setting.hosts)} hosts were asked for")
    metrics = dict(entry.measure(run))
    return Card(
        experiment=entry.name,
        setting=choices.setting,
        metrics=metrics,
        configuration=run.configuration,
        seeds=run.seeds,
        hardware=machine,
        versions=made_with,
        commit=commit,
        date=datetime.now(timezone.utc).replace(microsecond=0),
        seconds=run.seconds,
        notes=tuple(run.notes),
    )


def _chosen(setting: Setting, only: Sequence[str]) -> tuple[str, ...]:
    for pattern in only:
        if not any(fnmatchcase(name, pattern) for name in setting.hosts):
            raise OptionError(
                f"--only {pattern} fits no host; there are: {', '.join(setting.hosts)}"
            )
    return tuple(
        name
        for name in setting.hosts
        if not only or any(fnmatchcase(name, pattern) for pattern in only)
    )


def _device(name: str, setting: Setting) -> torch.device:
    available = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if setting.gpu and available else "cpu")
    if name not in ("cpu", "cuda"):
        raise OptionError(f"--device is cpu, cuda or auto, got {name!r}")
    if name == "cuda" and not available:
        raise OptionError("--device cuda: torch sees no CUDA device; take --device cpu")
    return torch.device(name)
