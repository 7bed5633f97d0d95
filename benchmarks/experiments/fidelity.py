"""Fidelity: what a passport costs in accuracy and time, and what it leaves as evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import fmean, median

import torch
from pydantic import JsonValue

from benchmarks.cells import Values
from benchmarks.experiments._fidelity_card import Fidelity, Measured, plot, render
from benchmarks.experiments._fidelity_hosts import HOSTS
from benchmarks.hosts import Host
from benchmarks.pairs import train_pair
from benchmarks.registry import Setting, experiment
from benchmarks.run import Run
from modeldeed import JudgeData, TrainingRule
from modeldeed.data import Dataset
from modeldeed.passport.evidence.private_check import SEPARATION, check_branch
from modeldeed.passport.passport import DEFAULT_HEAD
from modeldeed.training import accuracy

__all__ = ["Judge", "fidelity", "measure_cell"]

# Below this a host of ten or more classes has hardly begun to learn.
_UNTRAINED = 0.3


@dataclass(frozen=True, kw_only=True)
class Judge:
    """How the private branch is examined.

    Attributes:
        calibration: unlabelled images that re-estimate statistics; at most a third of the test
            part, disjoint from the labelled ones.
        images: labelled images behind each accuracy, at most what is left.
        decoys: wrong keys.
    """

    calibration: int = 256
    images: int = 512
    decoys: int = 12

    def data(self, dataset: Dataset) -> JudgeData:
        """The judge's data: the test part's first samples labelled, its last ones not."""
        total = len(dataset.y_test)
        calibration = min(self.calibration, total // 3)
        images = min(self.images, total - calibration)
        return JudgeData(
            calibration=dataset.x_test[total - calibration :],
            inputs=dataset.x_test[:images],
            labels=dataset.y_test[:images],
        )


_JUDGES = {"quick": Judge(decoys=20), "standard": Judge(), "full": Judge(images=2_000, decoys=100)}


def _setting(name: str, description: str, seeds: tuple[int, ...], *, gpu: bool = False) -> Setting:
    return Setting(description, tuple(host.name for host in HOSTS[name]), seeds, gpu)


@experiment(
    "fidelity",
    "accuracy and time that a passport costs, and the evidence it leaves",
    {
        "quick": _setting("quick", "minutes on two cores", (0, 1, 2)),
        "standard": _setting(
            "standard", "cut to fewer images and epochs: two hours on two cores", (0, 1, 2)
        ),
        "full": _setting("full", "the papers' sizes, for a GPU", (0, 1, 2), gpu=True),
    },
    table=render,
    plot=plot,
)
def fidelity(run: Run) -> Mapping[str, JsonValue]:
    """Measure every host of the setting under every seed."""
    chosen = [host for host in HOSTS[run.setting] if host.name in run.hosts]
    # All data are looked at first: a missing file shows now and not after hours.
    usable = [host for host in chosen if run.has_data(host.name, host.data)]
    cells = [cell for host in usable for cell in _host_cells(host, run)]
    for doubt in _doubts(cells):
        run.note(doubt)
    return Fidelity.of(cells).model_dump(mode="json")


def _host_cells(host: Host, run: Run) -> list[Measured]:
    rule, judge = TrainingRule(), _JUDGES[run.setting]
    choices: Values = {
        **host.configuration(),
        "training_rule": asdict(rule),
        "head": DEFAULT_HEAD,
        "judge": asdict(judge),
    }
    run.configuration[host.name] = choices
    loaded: list[Dataset] = []  # at the first cell that is not kept from an earlier run

    def compute(seed: int) -> Values:
        loaded[:] = loaded or [host.load(run.data_root, run.device)]
        return measure_cell(host, loaded[0], seed, rule, judge, run).model_dump(mode="json")

    return [
        Measured.model_validate(
            run.cell(f"{host.name}-{seed}", {**choices, "seed": seed}, partial(compute, seed))
        )
        for seed in run.seeds[: host.seeds]
    ]


def measure_cell(
    host: Host, dataset: Dataset, seed: int, rule: TrainingRule, judge: Judge, run: Run
) -> Measured:
    """Train one pair and examine it.

    Args:
        host: what to train.
        dataset: its data, from `Host.load`.
        seed: of start, order and owner.
        rule: how the passport is trained.
        judge: how the private branch is examined.
        run: told of progress.

    Returns:
        The cell.
    """
    pair = train_pair(host, dataset, seed, rule, run.say)
    run.say("  examining both networks")
    passport = pair.passport
    with torch.no_grad():
        readings = passport.branch.readings()
    own = dict(passport.branch.heads.named_parameters())
    branch = check_branch(
        pair.marked,
        passport.manifest.anchor,
        passport.manifest.model_key(pair.owner),
        judge.data(dataset),
        heads={name: value.detach() for name, value in own.items()} or None,
        decoys=judge.decoys,
        seed=seed,
    )
    signature = passport.signature()
    x, y = dataset.x_test, dataset.y_test
    return Measured(
        host=host.name,
        seed=seed,
        plain_accuracy=accuracy(pair.plain, x, y),
        public_accuracy=accuracy(pair.marked, x, y),
        private_accuracy=accuracy(lambda inputs: passport.branch(inputs, readings), x, y),
        private_accuracy_reestimated=branch.private_accuracy,
        decoy_accuracy_mean=fmean(branch.decoys),
        decoy_accuracy_max=max(branch.decoys),
        decoys=len(branch.decoys),
        signature_bits=signature.bits,
        signature_matches=signature.matches,
        signature_match_rate=signature.matches / signature.bits,
        log10_p=signature.log10_p,
        median_margin=signature.median_margin or 0.0,
        plain_epoch_seconds=median(pair.plain_seconds),
        marked_epoch_seconds=median(pair.marked_seconds),
        training_time_ratio=pair.time_ratio,
        seconds=sum(pair.plain_seconds) + sum(pair.marked_seconds),
    )


def _doubts(cells: Sequence[Measured]) -> list[str]:
    """What makes a cell's numbers say less than they seem to."""
    doubts = []
    for cell in cells:
        where = f"{cell.host}, seed {cell.seed}"
        if cell.plain_accuracy < _UNTRAINED:
            doubts.append(
                f"{where}: the plain network reaches only {cell.plain_accuracy:.3f}; its gaps say "
                "nothing of a trained one"
            )
        if cell.decoy_accuracy_max >= cell.private_accuracy_reestimated - SEPARATION:
            doubts.append(
                f"{where}: a wrong key reaches {cell.decoy_accuracy_max:.3f}, the owner's "
                f"{cell.private_accuracy_reestimated:.3f}; the private branch hardly tells them "
                "apart"
            )
    return doubts
