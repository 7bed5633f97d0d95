"""Audit: every attack at several strengths, on our marks and on the published form alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from pydantic import JsonValue

from benchmarks.cells import Values
from benchmarks.experiments._audit_card import Audited, Audits, render
from benchmarks.experiments._audit_hosts import ATTACKS, HOSTS, Form, marked, others_of
from benchmarks.experiments._canonical_inputs import form_of_data
from benchmarks.experiments._forgery_hosts import Victim
from benchmarks.hosts import Host
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run
from modeldeed import attacks
from modeldeed.attacks import AttackData
from modeldeed.audit import Audit, audit
from modeldeed.audit.records import Cell, LeftOut, Plan
from modeldeed.data import Dataset

__all__ = ["audit_experiment"]

_STRENGTHS = 3
_FORMS: tuple[Form, ...] = ("ours", "published")


@dataclass
class _Scene:
    """A victim with its data; made when the first cell is not kept."""

    run: Run
    host: Host
    form: Form
    seed: int
    _made: tuple[Dataset, Victim] | None = None

    @property
    def made(self) -> tuple[Dataset, Victim]:
        if self._made is None:
            dataset = self.host.load(self.run.data_root, self.run.device)
            victim = marked(self.run, self.host, dataset, self.seed, self.form)
            self._made = dataset, victim
        return self._made


@experiment(
    "audit",
    "every attack at three strengths: what it costs, and what is left of ours and of published "
    "marks",
    {
        "quick": Setting(
            "digits: a quarter of an hour on one core",
            tuple(host.name for host in HOSTS["quick"]),
            (0,),
        ),
        "standard": Setting(
            "a narrow ResNet-18 and AlexNet on CIFAR-10, PointNet: a day on one core",
            tuple(host.name for host in HOSTS["standard"]),
            (0,),
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
    chosen = ATTACKS[run.setting]
    for seed in run.seeds:
        scene = _Scene(run, host, form, seed)
        for attack in (None, *(attacks.names() if chosen is None else chosen)):
            one = _cell(run, scene, attack)
            plan = plan or one.plan
            cells += one.cells
            left_out += one.plan.left_out
    if plan is None:
        raise AssertionError("a run has a seed")
    plan = plan.model_copy(update={"left_out": tuple(dict.fromkeys(left_out)), "cells": ()})
    return Audited(host=host.name, form=form, plan=plan, cells=tuple(cells))


def _cell(run: Run, scene: _Scene, attack: str | None) -> Audited:
    name = f"{scene.host.name}-{scene.form}-{attack or 'none'}"
    choices: Values = {
        **scene.host.configuration(),
        "form": scene.form,
        "attack": attack,
        "strengths": _STRENGTHS,
    }
    run.configuration[name] = choices
    compute = partial(_measure, scene, attack)
    kept = run.cell(f"{name}-{scene.seed}", {**choices, "seed": scene.seed}, compute)
    return Audited.model_validate(kept)


def _measure(scene: _Scene, attack: str | None) -> Values:
    dataset, victim = scene.made
    ours = scene.form == "ours"
    found: Audit = audit(
        victim.model,
        AttackData(dataset, scene.host.augmentation),
        passport=victim.passport,
        triggers=victim.passport if ours else None,
        owner=victim.owner,
        prepare=form_of_data(dataset).prepare,
        others=others_of(victim, dataset, scene.form),
        attacks=[] if attack is None else [attack],
        strengths=_STRENGTHS,
        seeds=(scene.seed,),
        recipe=scene.host.recipe,
        wrong_keys=999 if attack is None else 0,
    )
    cells = found.cells if attack is None else found.cells[1:]  # the first is as it shipped
    return Audited(host=scene.host.name, form=scene.form, plan=found.plan, cells=cells).model_dump(
        mode="json"
    )
