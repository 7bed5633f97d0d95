"""Audit a model: every attack at every strength, and what is left of each mark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from modeldeed.anchoring.standing import Trusted
from modeldeed.attacks import Attack, AttackData
from modeldeed.attacks._layers import copy_of
from modeldeed.audit.aligned import Unmarked
from modeldeed.audit.carrying_out import Progress, carried_out, planned
from modeldeed.audit.claims import Claims
from modeldeed.audit.examiners import Examiner
from modeldeed.audit.found import Audit
from modeldeed.audit.grid import Strengths, grid
from modeldeed.audit.measuring import Job, measured_accuracy, versions
from modeldeed.claimant import Claimant
from modeldeed.data import Dataset
from modeldeed.deed import Deed, Opening
from modeldeed.digests import tensor_root
from modeldeed.errors import OptionError
from modeldeed.suspects import open_weights
from modeldeed.suspects.answering.preparation import Preparation, Prepare, name_of
from modeldeed.training import Recipe

__all__ = ["audit"]


def audit(
    model: nn.Module,
    data: Dataset | AttackData,
    *,
    passport: Any = None,
    unmarked: Unmarked | None = None,
    triggers: Any = None,
    plugin: Any = None,
    carriers: Tensor | None = None,
    owner: Claimant | None = None,
    deed: Deed | str | Path | None = None,
    opening: Opening | str | Path | None = None,
    trust: Trusted | None = None,
    prepare: Prepare | None = None,
    others: Sequence[Examiner] = (),
    attacks: Sequence[str | Attack] | None = None,
    strengths: Strengths = None,
    seeds: Sequence[int] = (0,),
    recipe: Recipe | None = None,
    wrong_keys: int = 999,
    folder: str | Path | None = None,
    processes: int = 1,
    progress: Progress | None = None,
) -> Audit:
    """Attack copies of a model in every way, and read what is left of its marks.

    Each attack, strength and seed is a cell with a JSON file of its own under ``folder``, written
    whole when it is done. A run that was killed is started again with the same call: it computes
    what is missing.

    Args:
        model: carries the marks; not changed.
        data: its task, on its device; or everything that attacks have. Attacks that need more are
            left out, and the audit says so. Accuracies are those on the test part.
        passport: a passport, its manifest or its folder, with ``owner``.
        unmarked: the exhibit of its anchor, the weights before marking: a model, a state dict or a
            file. With it a copy whose direct reading does not verify is aligned and read again.
        triggers: a trigger set, its manifest or its folder, or a passport with triggers.
        plugin: a plug-in or its folder, with ``carriers``.
        carriers: for a plug-in: benign samples in canonical integers.
        owner: whose marks they are. Only the seeds of their labels are used.
        deed: instead of marks and owner, with ``opening``. ``passport`` may then be the
            passport's folder, for learned heads and coloured readings.
        opening: that shows the deed's marks.
        trust: the authorities whose timestamps count.
        prepare: makes a model's input of canonical integers, for triggers and plug-in. None takes
            what the mark knows or, of data that were normalized, their mean and deviation.
        others: examiners of further marks, such as another scheme's.
        attacks: names, or attacks made by hand; None for all that are registered.
        strengths: at most so many of each attack; or names of strengths by attack; None for all.
        seeds: of every attack.
        recipe: of the model's own training: attacks that train take parts of it.
        wrong_keys: held against the model as it shipped.
        folder: where the cells stand; made when missing. None keeps nothing.
        processes: cells at a time; threads are divided among them.
        progress: told after every cell.

    Returns:
        The cells.

    Raises:
        OptionError: no mark is given, an attack or a strength is unknown, or something cannot be
            sent to another process.
        EvidenceError: a mark, deed or opening was altered, or ``unmarked`` are other weights than
            the anchor commits to.
        HostError: a process was ended from outside.

    Example:
        >>> import torch
        >>> from modeldeed import Owner, Passport
        >>> from modeldeed.data import load
        >>> net = nn.Sequential(nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.Flatten(),
        ...                     nn.Linear(576, 10))
        >>> owner = Owner.generate()
        >>> passport = Passport.issue(net, owner, example=torch.rand(2, 1, 8, 8))
        >>> found = audit(net.eval(), load("digits"), passport=passport, owner=owner,
        ...               attacks=["prune"], strengths=2, wrong_keys=9)
        >>> [cell.strength for cell in found.of("prune")]
        ['30 %', 'any 60 %']
    """
    if processes < 1 or wrong_keys < 0:
        raise OptionError(f"processes ≥ 1 and wrong_keys ≥ 0, got {processes} and {wrong_keys}")
    held = data if isinstance(data, AttackData) else AttackData(data)
    claim = Claims(passport, unmarked, triggers, plugin, carriers, owner, deed, opening, trust)
    examiners = claim.examiners(model, prepare or _standardizing(held.dataset), wrong_keys)
    if not (examiners or others):
        raise OptionError("give marks to look for: passport, triggers or plugin with owner, a deed")
    entries, left_out = grid(held, attacks=attacks, strengths=strengths, seeds=seeds, recipe=recipe)
    place = None if folder is None else Path(folder)
    job = _job(model, held, (*examiners, *others), place)
    plan = planned(job, entries, left_out, recipe, seeds)
    return carried_out(job, plan, entries, processes, progress)


def _standardizing(dataset: Dataset) -> Prepare | None:
    return Preparation(mean=dataset.mean, std=dataset.std) if dataset.mean else None


def _job(
    model: nn.Module, data: AttackData, examiners: Sequence[Examiner], folder: Path | None
) -> Job:
    shipped = _evaluating(model)
    accuracy = measured_accuracy(shipped, data.dataset)
    if accuracy is None:
        raise OptionError(
            f"the model's outputs are not the {data.dataset.num_classes} classes of "
            f"{data.dataset.name}: audit it on the data of its own task"
        )
    other = data.other_architecture
    common = {
        "model": open_weights(model).digest(),
        "class": name_of(type(model)),
        "data": _digest(data.dataset),
        "augment": None if data.augment is None else name_of(data.augment),
        "other data": None if data.other_data is None else _digest(data.other_data),
        "other model": None
        if data.other_model is None
        else open_weights(data.other_model).digest(),
        "other architecture": None if other is None else name_of(other),
        "marks": [examiner.describe() for examiner in examiners],
        "versions": versions(),
    }
    return Job(shipped, data, tuple(examiners), folder, common, accuracy)


def _evaluating(model: nn.Module) -> nn.Module:
    """The model itself where it is in evaluation mode, else a copy that is."""
    training = any(module.training for module in model.modules())
    return copy_of(model).eval() if training else model


def _digest(dataset: Dataset) -> str:
    parts = {name: getattr(dataset, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    return tensor_root(parts).hex()
