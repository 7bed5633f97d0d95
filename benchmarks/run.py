"""What an experiment is given: the choices of a run, its cells, and ways to tell about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from pydantic import JsonValue

from benchmarks.cells import CellStore, Values
from modeldeed import data

__all__ = ["Run"]


@dataclass(kw_only=True)
class Run:
    """One run of an experiment in one setting.

    Attributes:
        setting: name of the setting.
        hosts: the hosts to run, after ``--only``.
        seeds: the seeds to run.
        device: where to compute.
        data_root: folder of the data sets; None when none was named.
        store: keeps the cells.
        say: progress, one line at a time.
        notes: for the card.
        configuration: for the card: what every cell was told to do, by the cell's name.
        seconds: wall time of all cells so far.
    """

    setting: str
    hosts: tuple[str, ...]
    seeds: tuple[int, ...]
    device: torch.device
    data_root: Path | None
    store: CellStore
    say: Callable[[str], None]
    notes: list[str] = field(default_factory=list)
    configuration: dict[str, JsonValue] = field(default_factory=dict)
    seconds: float = 0.0
    _looked_at: set[str] = field(default_factory=set)

    def note(self, text: str) -> None:
        """Record something the card's reader must know, and say it now."""
        self.notes.append(text)
        self.say(f"note: {text}")

    def has_data(self, host: str, name: str) -> bool:
        """Tell whether a host's data are there; note it when no folder was named.

        Raises:
            DataError: a folder was named, but it has not the data set or a damaged one.
        """
        if name != "digits" and self.data_root is None:
            self.note(f"{host} was skipped: {name} needs --data-root or MODELDEED_DATA")
            return False
        if name not in self._looked_at:
            data.load(name, self.data_root)
            self._looked_at.add(name)
        return True

    def cell(
        self, name: str, configuration: Mapping[str, JsonValue], compute: Callable[[], Values]
    ) -> Values:
        """A cell's values: from an interrupted run, or computed now and kept.

        Args:
            name: unique within the experiment and fit for a file name.
            configuration: all choices that the result depends on.
            compute: measures it.

        Returns:
            What it measured.
        """
        cell = self.store.get(name, configuration, compute)
        self.seconds += cell.seconds
        self.say(f"{name}: {'kept from an earlier run' if cell.resumed else 'done'}")
        return cell.values
