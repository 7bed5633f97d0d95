"""Audit: every attack at several strengths, on our marks and on the published form alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from pydantic import JsonValue

from benchmarks.cells import Values
from benchmarks.experiments._audit_card import Audited, Audits, render
from benchmarks.experiments._audit_grids import GRIDS, Form, Group
from benchmarks.experiments._audit_hosts import HOSTS, Subject, subject
from benchmarks.hosts import Host
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run
from modeldeed.attacks import AttackData
from modeldeed.audit import Audit, audit
from modeldeed.audit.records import Cell, LeftOut, Plan
from modeldeed.data import Dataset

__all__ = ["audit_experiment"]

_NOTHING = Group("nothing", (), 1)
_FORMS: tuple[Form, ...] = ("ours", "published", "plug-in")


@dataclass
class _Scene:
    """A marked model with its data; made when the first cell is not kept."""

    run: Run
    host: Host
    form: Form
    seed: int
    _made: tuple[Dataset, Subject] | None = None

    @property
    def made(self) -> tuple[Dataset, Subject]:
        if self._made is None:
            dataset = self.host.load(self.run.data_root, self.run.device)
            made = subject(self.run, self.host, dataset, self.seed, self.form)
            self._made = dataset, made
        return self._made


@experiment(
    "audit",
    "attacks from weak to strong: what they cost, and what is left of ours and of published marks",
    {
        "quick": Setting(
            "digits: twenty minutes on one core",
            tuple(host.name for host in HOSTS["quick"]),
            (0,),
        ),
        "standard": Setting(
            "narrow ResNet-18 and AlexNet on CIFAR-10, PointNet: fifty minutes each on one core",
            tuple(host.name for host in HOSTS["standard"]),
            (0,),
        ),
        "full": Setting(
            "the papers' sizes, for a GPU",
            tuple(host.name for host in HOSTS["full"]),
            (0, 1, 2),
            gpu=True,
        ),
    },
    table=render,
)
def audit_experiment(run: Run) -> Mapping[str, JsonValue]:
    """Attack every host in both forms under every seed."""
    found = []
    for host in HOSTS[run.setting]:
        if host.name in run.hosts and run.has_data(host.name, host.data):
            found += [_audited(run, host, form) for form in _FORMS]
    return Audits(audits=tuple(found)).model_dump(mode="json")


def _audited(run: Run, host: Host, form: Form) -> Audited:
    plan: Plan | None = None
    cells: list[Cell] = []
    left_out: list[LeftOut] = []
    for seed in run.seeds:
        scene = _Scene(run, host, form, seed)
        for group in (_NOTHING, *GRIDS[run.setting][form]):
            one = _cell(run, scene, group)
            plan = plan or one.plan
            cells += one.cells
            left_out += one.plan.left_out
    if plan is None:
        raise AssertionError("a run has a seed")
    plan = plan.model_copy(update={"left_out": tuple(dict.fromkeys(left_out)), "cells": ()})
    return Audited(host=host.name, form=form, plan=plan, cells=tuple(cells))


def _cell(run: Run, scene: _Scene, group: Group) -> Audited:
    name = f"{scene.host.name}-{scene.form}-{group.name}"
    taken = group.strengths
    choices: Values = {
        **scene.host.configuration(),
        "form": scene.form,
        "attacks": list(group.names),
        "strengths": taken if isinstance(taken, int) else {n: list(s) for n, s in taken.items()},
    }
    run.configuration[name] = choices
    compute = partial(_measure, scene, group)
    kept = run.cell(f"{name}-{scene.seed}", {**choices, "seed": scene.seed}, compute)
    return Audited.model_validate(kept)


def _measure(scene: _Scene, group: Group) -> Values:
    dataset, made = scene.made
    nothing = group is _NOTHING
    found: Audit = audit(
        made.model,
        AttackData(dataset, scene.host.augmentation),
        **made.claims,
        others=made.others,
        attacks=group.attacks,
        strengths=group.strengths,
        seeds=(scene.seed,),
        recipe=scene.host.recipe,
        wrong_keys=999 if nothing else 0,
    )
    cells = found.cells if nothing else found.cells[1:]  # the first is as it shipped
    one = Audited(host=scene.host.name, form=scene.form, plan=found.plan, cells=cells)
    return one.model_dump(mode="json")
