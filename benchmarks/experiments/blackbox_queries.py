"""How many queries it takes: freshly marked models and their unmarked twins, asked by the judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from pydantic import JsonValue
from torch import nn

from benchmarks.cells import Values
from benchmarks.experiments._blackbox_queries_card import BlackboxQueries, Fresh, Query, render
from benchmarks.experiments._trigger_pairs import Mark, Victim, usable
from benchmarks.experiments._trigger_sweep import MARKS
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run
from modeldeed import query
from modeldeed.results import Verdict
from modeldeed.statistics import information_limit
from modeldeed.training import accuracy

__all__ = ["blackbox_queries", "unhardened"]


def unhardened(setting: str) -> tuple[Mark, ...]:
    """The marks of a setting as `TriggerTraining` makes them by itself."""
    return tuple(mark for mark in MARKS[setting] if not mark.training.harden)


def _hosts(setting: str) -> tuple[str, ...]:
    return tuple(mark.name for mark in unhardened(setting))


@experiment(
    "blackbox-queries",
    "queries until a freshly marked model is verified, and until its unmarked twin is not",
    {
        "quick": Setting("digits: five minutes on one core", _hosts("quick"), (0, 1, 2)),
        "standard": Setting("an hour on one core", _hosts("standard"), (0, 1, 2)),
        "full": Setting("the papers' sizes, for a GPU", _hosts("full"), (0, 1, 2), gpu=True),
    },
    table=render,
)
def blackbox_queries(run: Run) -> Mapping[str, JsonValue]:
    """Ask the marked and the plain model of every host and seed about each batch by itself."""
    cells = []
    chosen = [mark for mark in unhardened(run.setting) if mark.name in run.hosts]
    for mark in [mark for mark in chosen if usable(run, mark.host)]:
        choices = mark.configuration()
        run.configuration[mark.name] = choices
        for seed in run.seeds[: mark.seeds]:
            compute = partial(_measure, Victim(mark, seed, run))
            values = run.cell(f"{mark.name}-{seed}", {**choices, "seed": seed}, compute)
            cells.append(Fresh.model_validate(values))
    for doubt in _doubts(cells):
        run.note(doubt)
    return BlackboxQueries.of(cells).model_dump(mode="json")


def _measure(victim: Victim) -> Values:
    pair, data = victim.pair, victim.dataset
    triggers = pair.triggers
    return Fresh(
        host=victim.mark.name,
        seed=victim.seed,
        classes=triggers.rule.classes,
        family=triggers.rule.family,
        information_limit=information_limit(triggers.rule.classes),
        plain_accuracy=accuracy(pair.plain, data.x_test, data.y_test),
        accuracy=accuracy(pair.marked, data.x_test, data.y_test),
        match_rate=triggers.match_rate(pair.marked),
        plain_match_rate=triggers.match_rate(pair.plain),
        marked=_asked(victim, pair.marked),
        plain=_asked(victim, pair.plain),
    ).model_dump(mode="json")


def _asked(victim: Victim, model: nn.Module) -> tuple[Query, ...]:
    """One query for each batch, each by itself."""
    pair, found = victim.pair, []
    for number in range(pair.triggers.rule.batches):
        report = query(model, triggers=pair.triggers, owner=pair.owner, batches=(number,))
        if report.answers is None or report.answers.log10_e is None:
            raise AssertionError("a sequential query's report has an e-value")
        found.append(
            Query(
                batch=number,
                queries=report.answers.queries,
                matches=report.answers.matches,
                log10_e=report.answers.log10_e,
                verdict=report.verdict,
            )
        )
    return tuple(found)


def _doubts(cells: Sequence[Fresh]) -> Iterator[str]:
    """What a reader of the card must not overlook."""
    for cell in cells:
        if any(asked.verdict is not Verdict.VERIFIED for asked in cell.marked):
            yield (
                f"{cell.host}, seed {cell.seed}: a batch of a freshly marked model was not "
                f"verified; it learned {cell.match_rate:.2f} of its triggers"
            )
        if any(asked.verdict is Verdict.VERIFIED for asked in cell.plain):
            yield f"{cell.host}, seed {cell.seed}: an unmarked model was verified: a wrong program"
