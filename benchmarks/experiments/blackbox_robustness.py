"""Robustness of the black-box mark: what a changed model still answers to the triggers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch
from pydantic import JsonValue
from torch import Tensor, nn

from benchmarks.cells import Values
from benchmarks.experiments._blackbox_robustness_card import Asked, BlackboxRobustness, render
from benchmarks.experiments._sweep import Learned, learned_data
from benchmarks.experiments._trigger_pairs import Mark, Victim, usable
from benchmarks.experiments._trigger_sweep import MARKS, Try, tries
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run
from modeldeed import query
from modeldeed.attacks import AttackData
from modeldeed.data import Dataset
from modeldeed.results import AnswerEvidence, Verdict
from modeldeed.statistics import BLACK_BOX, LN10
from modeldeed.training import accuracy

__all__ = ["blackbox_robustness"]

_GROUP = 64
_UNDERTRAINED = 0.7
_UNLEARNED = 0.95


@experiment(
    "blackbox-robustness",
    "what a model that was changed, or copied by its answers, still answers to the triggers",
    {
        "quick": Setting(
            "digits: twenty minutes on one core",
            tuple(mark.name for mark in MARKS["quick"]),
            (0, 1, 2),
        ),
        "standard": Setting(
            "pictures, sound and points: two hours on one core",
            tuple(mark.name for mark in MARKS["standard"]),
            (0,),
        ),
        "full": Setting(
            "the papers' sizes, for a GPU",
            tuple(mark.name for mark in MARKS["full"]),
            (0, 1, 2),
            gpu=True,
        ),
    },
    table=render,
)
def blackbox_robustness(run: Run) -> Mapping[str, JsonValue]:
    """Ask the marked model of every seed after every change of the sweep."""
    cells = []
    chosen = [mark for mark in MARKS[run.setting] if mark.name in run.hosts]
    for mark in [mark for mark in chosen if _usable(run, mark)]:
        for seed in run.seeds[: mark.seeds]:
            victim = Victim(mark, seed, run)
            cells += [_cell(run, victim, attempt) for attempt in tries(mark, run.setting)]
    for doubt in _doubts(cells):
        run.note(doubt)
    return BlackboxRobustness(cells=tuple(cells)).model_dump(mode="json")


def _usable(run: Run, mark: Mark) -> bool:
    needed = mark.host.data == "cifar10"
    return usable(run, mark.host) and (not needed or run.has_data(mark.name, "cifar100"))


def _cell(run: Run, victim: Victim, attempt: Try) -> Asked:
    mark = victim.mark
    name = f"{mark.name}-{_as_file(attempt.name)}"
    choices: Values = {**mark.configuration(), **attempt.configuration()}
    run.configuration[name] = choices
    compute = partial(_measure, victim, attempt)
    return Asked.model_validate(
        run.cell(f"{name}-{victim.seed}", {**choices, "seed": victim.seed}, compute)
    )


def _as_file(name: str) -> str:
    words = name.replace("%", "percent").replace("×", "x").replace("°", "degrees")
    return words.replace(",", "").replace(" ", "-")


def _measure(victim: Victim, attempt: Try) -> Values:
    pair, mark = victim.pair, victim.mark
    own = victim.dataset
    learned = _learned(victim, attempt.data)
    # A student copies the task by other inputs; a transferred model has another task.
    shown = own if attempt.name.startswith("knockoff") else learned
    data = AttackData(learned, mark.host.augmentation)
    changed, seconds = pair.marked, 0.0
    if attempt.attack is not None:
        start = time.perf_counter()
        generator = torch.Generator().manual_seed(victim.seed)
        changed = attempt.attack.apply(pair.marked, data, generator)
        seconds = time.perf_counter() - start
    distort = _distorted(victim, attempt.distortion)
    evidence, verdict = ask(victim, changed, distort)
    log10_e = evidence.log10_e or 0.0
    return Asked(
        host=mark.name,
        seed=victim.seed,
        change=attempt.name,
        data=attempt.data,
        accuracy_before=accuracy(pair.marked, own.x_test, own.y_test),
        accuracy_after=_accuracy(changed, shown, victim, attempt),
        triggers=len(pair.triggers),
        match_rate=match_rate(victim, changed, distort),
        queries=evidence.queries,
        matches=evidence.matches,
        log10_e=log10_e,
        log10_p_paid=BLACK_BOX.paid(-log10_e * LN10) / LN10,
        verdict=verdict,
        steps=attempt.attack.steps(data) if attempt.attack else 0,
        original_steps=mark.host.recipe.epochs * (len(own.y_train) // mark.host.recipe.batch_size),
        seconds=seconds,
    ).model_dump(mode="json")


def _learned(victim: Victim, data: Learned) -> Dataset:
    if data in ("same", "none"):
        return victim.dataset
    return learned_data(victim.mark.host, victim.dataset, victim.run.data_root)[data]


Distorted = Callable[[Tensor], Tensor]
"""Of canonical integers, on their way to the model."""


def _distorted(victim: Victim, name: str | None) -> Distorted:
    if name is None:
        return lambda inputs: inputs
    change = victim.form.distortions[name]
    generator = torch.Generator().manual_seed(victim.seed)
    return lambda inputs: change(inputs, generator)


def ask(victim: Victim, model: nn.Module, distort: Distorted) -> tuple[AnswerEvidence, Verdict]:
    """The judge's query of a model behind a distortion.

    Args:
        victim: whose triggers.
        model: in evaluation mode.
        distort: what happens to inputs on their way.

    Returns:
        Evidence and verdict.
    """
    pair, prepare = victim.pair, victim.form.prepare
    report = query(
        model,
        triggers=pair.triggers,
        owner=pair.owner,
        prepare=lambda batch: prepare(distort(batch)),
    )
    if report.answers is None:
        raise AssertionError("a query's report has answers")
    return report.answers, report.verdict


def match_rate(victim: Victim, model: nn.Module, distort: Distorted) -> float:
    """The share of all triggers, of both batches, that a model answers with their labels."""
    triggers = victim.pair.triggers
    inputs = victim.form.prepare(distort(triggers.inputs))
    return accuracy(model, inputs, triggers.labels.to(inputs.device), _GROUP)


def _accuracy(model: nn.Module, data: Dataset, victim: Victim, attempt: Try) -> float:
    """On the test part, its inputs distorted as the triggers are."""
    x = data.x_test
    if attempt.distortion is not None:
        form = victim.form
        x = form.prepare(_distorted(victim, attempt.distortion)(form.canonical(x)))
    return accuracy(model, x, data.y_test)


def _doubts(cells: Sequence[Asked]) -> Iterator[str]:
    """What a reader of the card must not overlook."""
    for cell in cells:
        if cell.change == "nothing" and cell.accuracy_before < _UNDERTRAINED:
            yield (
                f"{cell.host}, seed {cell.seed}: an accuracy of {cell.accuracy_before:.2f} is far "
                "from what this network can learn; longer training may change all of its rows"
            )
        if cell.change == "nothing" and cell.match_rate < _UNLEARNED:
            yield (
                f"{cell.host}, seed {cell.seed}: only {cell.match_rate:.2f} of the triggers were "
                "learned, so less than usual is there to be kept"
            )
