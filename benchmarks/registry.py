"""The experiments, by name.

An experiment is one file in ``benchmarks/experiments`` that decorates its function::

    @experiment("name", "what it measures", settings={...}, table=render)
    def measure(run: Run) -> Mapping[str, JsonValue]: ...

Nothing else has to be touched: the file is found, listed, run, and its tables written.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import JsonValue

from benchmarks.cards import Card
from benchmarks.run import Run
from modeldeed.errors import OptionError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Experiment", "Plot", "Setting", "Table", "experiment", "experiments", "find"]

Measure = Callable[[Run], Mapping[str, JsonValue]]
Table = Callable[[Card], str]
"""From one of an experiment's cards to Markdown."""
Plot = Callable[[Card, "Figure"], None]
"""Draws one of an experiment's cards into an empty figure of matplotlib."""


@dataclass(frozen=True)
class Setting:
    """One size of an experiment.

    Attributes:
        description: what it takes, in a few words.
        hosts: names of its hosts, what ``--only`` chooses from.
        seeds: the seeds unless ``--seeds`` says otherwise.
        gpu: take a GPU where there is one, unless ``--device`` says otherwise.
    """

    description: str
    hosts: tuple[str, ...]
    seeds: tuple[int, ...]
    gpu: bool = False


@dataclass(frozen=True)
class Experiment:
    """A registered experiment.

    Attributes:
        name: how it is called for.
        description: one line.
        settings: its sizes, smallest first.
        measure: computes the metrics of a run.
        table: renders one of its cards.
        plot: draws one of them; None for an experiment without figures.
        revision: raised when a measurement in ``benchmarks`` changes, so that no older cell is
            taken up; changes of the package itself are noticed without it.
    """

    name: str
    description: str
    settings: Mapping[str, Setting]
    measure: Measure
    table: Table
    plot: Plot | None
    revision: int

    def setting(self, name: str) -> Setting:
        """One of its settings.

        Raises:
            OptionError: there is none of this name.
        """
        if name not in self.settings:
            raise OptionError(
                f"{self.name} has no setting {name!r}; there are: {', '.join(self.settings)}"
            )
        return self.settings[name]


_REGISTRY: dict[str, Experiment] = {}


def experiment(
    name: str,
    description: str,
    settings: Mapping[str, Setting],
    *,
    table: Table,
    plot: Plot | None = None,
    revision: int = 1,
) -> Callable[[Measure], Measure]:
    """Register a function as an experiment.

    Args:
        name: unique; also the beginning of its cards' file names.
        description: one line for ``list`` and for the results page.
        settings: its sizes, smallest first.
        table: renders one of its cards for the results page.
        plot: draws one of its cards, for the figure below its table.
        revision: see `Experiment`.

    Returns:
        A decorator that leaves the function as it is.

    Raises:
        OptionError: the name is taken.
    """

    def register(measure: Measure) -> Measure:
        if name in _REGISTRY:
            raise OptionError(f"an experiment {name!r} is registered already; choose another name")
        _REGISTRY[name] = Experiment(name, description, settings, measure, table, plot, revision)
        return measure

    return register


def experiments() -> list[Experiment]:
    """All experiments, in alphabetical order."""
    package = importlib.import_module("benchmarks.experiments")
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"{package.__name__}.{module.name}")
    return [_REGISTRY[name] for name in sorted(_REGISTRY)]


def find(name: str) -> Experiment:
    """One experiment by name.

    Raises:
        OptionError: there is none of this name.
    """
    known = {entry.name: entry for entry in experiments()}
    if name not in known:
        raise OptionError(f"no experiment {name!r}; there are: {', '.join(known)}")
    return known[name]
