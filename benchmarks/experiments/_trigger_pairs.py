"""Train one network twice from the same start: plainly, and with triggers.

Both see the same batches in the same order. Trained weights are kept beside the cells, since three
experiments examine the same pairs.
"""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from pydantic import JsonValue
from safetensors.torch import load, save
from torch import nn

from benchmarks import environment
from benchmarks.experiments._canonical_inputs import Form, form_of_data
from benchmarks.hosts import Host
from benchmarks.pairs import owner_for
from benchmarks.run import Run
from benchmarks.speech import SPOKEN_DIGITS, spoken_digits
from modeldeed.data import Dataset
from modeldeed.owner import Owner
from modeldeed.storage import write_atomically
from modeldeed.training import side_by_side, train
from modeldeed.triggers.training import TriggerTraining
from modeldeed.triggers.trigger_set import TriggerSet

__all__ = ["Mark", "TriggerPair", "Victim", "issued", "usable"]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A host and how it learns its triggers.

    Attributes:
        host: network, data and recipe.
        training: of the triggers.
        seeds: at most so many of the asked seeds; None takes all.
    """

    host: Host
    training: TriggerTraining = field(default_factory=TriggerTraining)
    seeds: int | None = None

    @property
    def name(self) -> str:
        """How it is called in cards and by ``--only``."""
        return f"{self.host.name}{'-hardened' if self.training.harden else ''}"

    def configuration(self) -> dict[str, JsonValue]:
        """Everything about it, for the card."""
        return {**self.host.configuration(), "triggers": asdict(self.training)}


@dataclass(frozen=True)
class TriggerPair:
    """A plain and a marked network of the same start, both in eval mode.

    Attributes:
        plain: trained without triggers.
        marked: trained with them.
        triggers: the set.
        owner: whose they are.
    """

    plain: nn.Module
    marked: nn.Module
    triggers: TriggerSet
    owner: Owner


@dataclass
class Victim:
    """A mark under one seed; data and networks are there when they are first asked for.

    Attributes:
        mark: what is trained.
        seed: of start, order of samples and owner.
        run: keeps the weights, is told of progress.
    """

    mark: Mark
    seed: int
    run: Run
    _dataset: Dataset | None = None
    _pair: TriggerPair | None = None

    @property
    def dataset(self) -> Dataset:
        """The host's data."""
        if self._dataset is None:
            self._dataset = self.mark.host.load(self.run.data_root, self.run.device)
        return self._dataset

    @property
    def form(self) -> Form:
        """From canonical inputs to those of the data, and back."""
        return form_of_data(self.dataset)

    @property
    def pair(self) -> TriggerPair:
        """Both networks."""
        if self._pair is None:
            self._pair = _kept_pair(self)
        return self._pair


def usable(run: Run, host: Host) -> bool:
    """Tell whether a host's data are there; note it when no folder was named.

    Raises:
        DataError: a folder was named, but it has not the data set or a damaged one.
    """
    if host.data != SPOKEN_DIGITS or run.data_root is None:
        return run.has_data(host.name, host.data)
    spoken_digits(run.data_root)
    return True


def issued(
    dataset: Dataset,
    owner: Owner,
    *,
    model: nn.Module | None = None,
    family: str | None = None,
    training: TriggerTraining | None = None,
) -> TriggerSet:
    """The triggers of an owner for a model of some data.

    Args:
        dataset: what the model learns.
        owner: whose key it is.
        model: whose weights the anchor commits to; None for none.
        family: how triggers are drawn; None for the default.
        training: how they are learned.
    """
    form = form_of_data(dataset)
    return TriggerSet.issue(
        owner,
        example=form.example,
        classes=dataset.classes,
        model=model,
        family=family,
        prepare=form.prepare,
        training=training,
    )


def _kept_pair(victim: Victim) -> TriggerPair:
    """Both networks, from an earlier run where it kept them."""
    host, dataset, seed = victim.mark.host, victim.dataset, victim.seed
    plain = host.build(dataset, seed)
    marked = copy.deepcopy(plain)
    owner = owner_for(seed)
    triggers = issued(dataset, owner, model=plain, training=victim.mark.training)
    folder = _folder(victim)
    files = folder / "plain.safetensors", folder / "marked.safetensors"
    networks = plain, marked
    if all(file.exists() for file in files):
        for network, file in zip(networks, files, strict=True):
            network.load_state_dict(load(file.read_bytes()))
    else:
        _train(victim, plain, marked, triggers)
        folder.mkdir(parents=True, exist_ok=True)
        for network, file in zip(networks, files, strict=True):
            state = {name: value.contiguous() for name, value in network.state_dict().items()}
            write_atomically(file, save(state))
    return TriggerPair(plain.eval(), marked.eval(), triggers, owner)


def _folder(victim: Victim) -> Path:
    """Named by everything the weights depend on."""
    key: dict[str, JsonValue] = {
        "mark": victim.mark.configuration(),
        "seed": victim.seed,
        "code": environment.code_digest(),
        "hardware": environment.hardware(victim.run.device).model_dump(),
        "versions": environment.versions().model_dump(),
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]
    cells = victim.run.store.path("any", {}).parent
    return cells.parent / "trigger-pairs" / f"{victim.mark.name}-{victim.seed}-{digest}"


def _train(victim: Victim, plain: nn.Module, marked: nn.Module, triggers: TriggerSet) -> None:
    host, dataset, seed = victim.mark.host, victim.dataset, victim.seed
    recipe = replace(host.recipe, seed=seed)
    augment = host.augmentation
    plainly = train(plain, dataset, recipe, augment=augment)
    markedly = train(marked, dataset, recipe, triggers=triggers, augment=augment)
    on_gpu = dataset.x_train.is_cuda
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if on_gpu else []):
        torch.manual_seed(seed)  # dropout draws from the global generator
        for one, other in side_by_side(plainly, markedly):
            victim.run.say(
                f"  epoch {one.number}/{recipe.epochs}: plain {one.seconds:.1f} s, loss "
                f"{one.loss:.3f}; with triggers {other.seconds:.1f} s, loss {other.loss:.3f}"
            )
