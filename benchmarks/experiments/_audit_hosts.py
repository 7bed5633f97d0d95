"""The networks that are audited: each once with our passport, once with one in the published form.

Trained weights are kept beside the cells, so that an audit that was interrupted goes on without
training again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import JsonValue
from safetensors.torch import load, save
from torch import Tensor, nn

from benchmarks import environment
from benchmarks.experiments._canonical_inputs import form_of_data
from benchmarks.experiments._forgery_hosts import Victim, as_published
from benchmarks.hosts import QUICK, STANDARD, Host
from benchmarks.pairs import owner_for
from benchmarks.run import Run
from modeldeed import Passport, TrainingRule, TriggerOptions
from modeldeed.attacks.forgery.published import LEAST_MATCH_RATE, PublishedClaim, examine
from modeldeed.audit import Examiner, MarkReading
from modeldeed.data import Dataset
from modeldeed.digests import tensor_root
from modeldeed.errors import OptionError
from modeldeed.storage import write_atomically
from modeldeed.training import Recipe, train

__all__ = ["ATTACKS", "HOSTS", "PUBLISHED", "Form", "PublishedExaminer", "marked", "others_of"]

Form = Literal["ours", "published"]
"""One keyed row for each channel, or one row for all with bits by position and learned heads."""

PUBLISHED = "published rule"

_ALEXNET = next(h for h in STANDARD if h.network == "alexnet" and h.norm == "batch")
_POINTNET = next(h for h in STANDARD if h.network == "pointnet")
HOSTS: dict[str, tuple[Host, ...]] = {
    "quick": (replace(QUICK[0], recipe=Recipe(epochs=15)),),
    "standard": (replace(QUICK[1], train=4_000), replace(_ALEXNET, train=2_500), _POINTNET),
}

ATTACKS: dict[str, Sequence[str] | None] = {
    # What is quick on one core; those that train as long as the model are in the standard size.
    "quick": (
        "cast", "dummy-neurons", "fine-tune", "flip-signs", "fold-norms", "insert-layers",
        "low-rank", "low-variance-resampling", "permute", "prune", "prune-channels", "quantize",
        "remove-components", "scale", "weight-noise", "stack",
    ),
    "standard": None,
}  # fmt: skip


@dataclass(frozen=True)
class PublishedExaminer:
    """Judges by the published rule: accuracy of the private branch, and matching bits.

    Attributes:
        claim: the genuine owner's.
        dataset: whose test part the judge has.
    """

    claim: PublishedClaim
    dataset: Dataset

    def describe(self) -> dict[str, dict[str, Any]]:
        """Digest of the claim's passports, and the rule."""
        passports = {str(n): p for n, p in enumerate(self.claim.passports)}
        return {PUBLISHED: {"claim": tensor_root(passports).hex(), "least_rate": LEAST_MATCH_RATE}}

    def examine(self, model: nn.Module, shipped: nn.Module) -> tuple[MarkReading, ...]:  # noqa: ARG002
        """Whether the published judge accepts."""
        total = sum(len(bits) for bits in self.claim.bits)
        try:
            result = examine(model, self.claim, self.dataset.x_test, self.dataset.y_test)
        except (OptionError, AttributeError, RuntimeError, ValueError) as error:
            # A rewritten model has other layers; the published judge knows no way to read them.
            return (MarkReading(kind=PUBLISHED, verdict="unreadable", reason=str(error)[:300]),)
        return (
            MarkReading(
                kind=PUBLISHED,
                verdict="verified" if result.accepts else "not verified",
                reason=f"private accuracy {result.private_accuracy:.3f}, match rate "
                f"{result.match_rate:.3f}",
                matches=round(result.match_rate * total),
                total=total,
                extra={"private_accuracy": result.private_accuracy},
            ),
        )


def others_of(victim: Victim, dataset: Dataset, form: Form) -> list[Examiner]:
    """The published judge, for a model in the published form."""
    return [PublishedExaminer(as_published(victim), dataset)] if form == "published" else []


def marked(run: Run, host: Host, dataset: Dataset, seed: int, form: Form) -> Victim:
    """A trained network with its passport, and ours with triggers; from an earlier run, or now."""
    model, owner = host.build(dataset, seed), owner_for(seed)
    options: dict[str, Any] = {"rows": "shared", "head": "learned"}
    if form == "ours":
        prepare = form_of_data(dataset).prepare
        options = {"triggers": TriggerOptions(prepare=prepare)}
    passport = Passport.issue(
        model, owner, example=dataset.x_train[:4], classes=dataset.classes,
        training=TrainingRule(), **options,
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
        "rule": asdict(TrainingRule()),
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
