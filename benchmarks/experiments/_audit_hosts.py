"""The networks that are audited: with our passport, with a published one, and beside a plug-in.

Trained weights are kept beside the cells, so that an audit that was interrupted goes on without
training again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue
from safetensors.torch import load, save
from torch import Tensor, nn

from benchmarks import environment
from benchmarks.experiments._audit_grids import Form
from benchmarks.experiments._audit_plugin import fused_with
from benchmarks.experiments._audit_published import PublishedExaminer
from benchmarks.experiments._canonical_inputs import form_of_data
from benchmarks.experiments._forgery_hosts import Victim, as_published, narrow_alexnet
from benchmarks.hosts import QUICK, STANDARD, Host, full_host
from benchmarks.pairs import owner_for
from benchmarks.run import Run
from modeldeed import Passport, TrainingRule, TriggerOptions
from modeldeed.audit import Examiner
from modeldeed.data import Dataset
from modeldeed.storage import write_atomically
from modeldeed.training import Recipe, train

__all__ = ["HOSTS", "Subject", "subject"]


@dataclass(frozen=True, kw_only=True)
class NarrowAlexNet(Host):
    """The papers' AlexNet with fewer channels: whole, an epoch takes four times as long.

    Attributes:
        divisor: of all widths.
    """

    divisor: int

    @property
    def name(self) -> str:
        """How it is called in cards and by ``--only``."""
        return f"{self.data}-alexnet-{self.divisor}th"

    def build(self, dataset: Dataset, seed: int) -> nn.Module:
        """The untrained network; the same for the same seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = narrow_alexnet(dataset.num_classes, dataset.input_shape, self.divisor)
        return net.to(dataset.x_train.device)


# Half an hour to an hour on one core for each; as long as a full one trains takes a GPU.
_POINTNET = next(host for host in STANDARD if host.network == "pointnet")
_RULES: dict[Form, TrainingRule] = {
    "ours": TrainingRule(),
    # As in the code that was released with it: every sample through both branches in every step.
    # Its rule asks the private branch for the public one's accuracy, which takes that.
    "published": TrainingRule(
        schedule="both", interval=1, signature_weight=1.0, private_weight=1.0
    ),
}
HOSTS: dict[str, tuple[Host, ...]] = {
    "quick": (QUICK[0],),
    "standard": (
        replace(QUICK[1], train=4_000, test=1_000),
        NarrowAlexNet(
            data="cifar10",
            network="alexnet",
            divisor=2,
            augment="images",
            train=3_000,
            test=1_000,
            recipe=Recipe(epochs=8, batch_size=64, learning_rate=0.02),
        ),
        replace(_POINTNET, points=64, recipe=replace(_POINTNET.recipe, epochs=12)),
    ),
    "full": (full_host("resnet18"), full_host("alexnet"), full_host("pointnet")),
}


@dataclass(frozen=True)
class Subject:
    """A marked model, and what `modeldeed.audit.audit` is told of its marks.

    Attributes:
        model: in evaluation mode.
        claims: keyword arguments.
        others: examiners of another scheme.
    """

    model: nn.Module
    claims: Mapping[str, Any]
    others: tuple[Examiner, ...] = ()


def subject(run: Run, host: Host, dataset: Dataset, seed: int, form: Form) -> Subject:
    """A trained network with its mark; from an earlier run, or now.

    Args:
        run: keeps trained weights.
        host: the network.
        dataset: its data.
        seed: of its training.
        form: of its mark. The plug-in stands beside the network that has our passport.
    """
    unmarked = {n: t.clone() for n, t in host.build(dataset, seed).state_dict().items()}
    victim = _marked(run, host, dataset, seed, "published" if form == "published" else "ours")
    if form == "plug-in":
        label = f"audit-{host.name}-{seed}"
        return Subject(*fused_with(victim.model, victim.owner, dataset, seed, label))
    claims = {"passport": victim.passport, "owner": victim.owner}
    if form == "published":  # bits are read by position: no alignment
        return Subject(victim.model, claims, (PublishedExaminer(as_published(victim), dataset),))
    prepare = form_of_data(dataset).prepare
    claims |= {"triggers": victim.passport, "unmarked": unmarked, "prepare": prepare}
    return Subject(victim.model, claims)


def _marked(run: Run, host: Host, dataset: Dataset, seed: int, form: Form) -> Victim:
    model, owner = host.build(dataset, seed), owner_for(seed)
    options: dict[str, Any] = {"rows": "shared", "head": "learned"}
    if form == "ours":
        prepare = form_of_data(dataset).prepare
        options = {"triggers": TriggerOptions(prepare=prepare)}
    passport = Passport.issue(
        model, owner, example=dataset.x_train[:4], classes=dataset.classes,
        training=_RULES[form], **options,
    )  # fmt: skip
    folder = _folder(run, host, seed, form)
    weights, state = folder / "model.safetensors", folder / "passport.safetensors"
    if weights.exists() and state.exists():
        model.load_state_dict(load(weights.read_bytes()))
        passport.restore(load(state.read_bytes()))
    else:
        _train(run, host, dataset, passport, seed)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(weights, save(_contiguous(model.state_dict())))
        write_atomically(state, save(_contiguous(passport.state())))
    return Victim(model.eval(), passport, owner)


def _folder(run: Run, host: Host, seed: int, form: Form) -> Path:
    key: dict[str, JsonValue] = {
        "host": host.configuration(),
        "rule": asdict(_RULES[form]),
        "seed": seed,
        "form": form,
        "code": environment.code_digest(),
        "versions": environment.versions().model_dump(),
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]
    return run.store.path("any", {}).parent.parent / "audit-models" / f"{host.name}-{digest}"


def _train(run: Run, host: Host, dataset: Dataset, passport: Passport, seed: int) -> None:
    recipe = replace(host.recipe, seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # dropout draws from the global generator
        epochs = train(passport.host, dataset, recipe, passport=passport, augment=host.augmentation)
        for epoch in epochs:
            run.say(f"  epoch {epoch.number}/{recipe.epochs}: {epoch.seconds:.1f} s")


def _contiguous(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous().clone() for name, tensor in state.items()}
