"""What is done to marked models before they are asked, and the hosts it is done to."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from pydantic import JsonValue
from torch import nn

from benchmarks.experiments._canonical_inputs import POINTS, SOUND
from benchmarks.experiments._distortions import DISTORTIONS
from benchmarks.experiments._sweep import Learned
from benchmarks.experiments._trigger_pairs import Mark
from benchmarks.hosts import QUICK, STANDARD, Host, full_host
from benchmarks.speech import SPOKEN_DIGITS
from modeldeed.attacks import Attack, AttackData, Distill, FineTune, Prune, Quantize
from modeldeed.training import Recipe
from modeldeed.triggers.training import TriggerTraining

__all__ = ["CIFAR", "MARKS", "Half", "Try", "has_other_data", "tries"]

_DIGITS, _NARROW = QUICK
_ALEXNET = next(host for host in STANDARD if host.network == "alexnet")
SOUND_HOST = Host(data=SPOKEN_DIGITS, network="sound", recipe=Recipe(epochs=30, learning_rate=0.05))

_LONG = 15  # epochs


def _cheap(host: Host, epochs: int) -> Host:
    # Without an accelerator for it, bfloat16 takes longer than float32.
    return replace(host, recipe=replace(host.recipe, epochs=epochs, bfloat16=False))


# Small batches: within few epochs, a network learns more in many small steps.
CIFAR = replace(
    _NARROW,
    train=4_000,
    recipe=Recipe(epochs=6, batch_size=64, learning_rate=0.05),
)
# An epoch of all 5,000 images takes minutes on one core.
_SHORT_ALEXNET = replace(_cheap(_ALEXNET, 5), train=2_500)
_LDRAW = next(host for host in STANDARD if host.network == "pointnet")
_POINTS = replace(
    _LDRAW, train=1_200, recipe=replace(_LDRAW.recipe, epochs=6, batch_size=16, bfloat16=False)
)

# Where a training is so short that a trigger would be seen fewer than ten times, more are appended.
MARKS: dict[str, tuple[Mark, ...]] = {
    "quick": (
        Mark(host=_DIGITS),
        Mark(host=_DIGITS, training=TriggerTraining(harden=0.1), seeds=1),
    ),
    "standard": (
        Mark(host=CIFAR, training=TriggerTraining(per_batch=16)),
        Mark(host=SOUND_HOST, seeds=1),
        Mark(host=_POINTS, training=TriggerTraining(per_batch=8), seeds=1),
        Mark(host=CIFAR, training=TriggerTraining(per_batch=16, harden=0.1), seeds=1),
        Mark(host=_POINTS, training=TriggerTraining(per_batch=8, harden=0.1), seeds=1),
        Mark(host=SOUND_HOST, training=TriggerTraining(harden=0.1), seeds=1),
        Mark(host=_SHORT_ALEXNET, training=TriggerTraining(per_batch=16), seeds=1),
    ),
    "full": (
        Mark(host=full_host("resnet18")),
        Mark(host=full_host("resnet18"), training=TriggerTraining(harden=0.1)),
        Mark(host=full_host("alexnet")),
        Mark(host=full_host("pointnet")),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Half(Attack):
    """Store all weights in 16-bit floating point; what computes with them stays as it is."""

    name: ClassVar[str] = "fp16"

    def apply(
        self,
        model: nn.Module,
        data: AttackData,  # noqa: ARG002 - needs none
        generator: torch.Generator,  # noqa: ARG002 - draws nothing
    ) -> nn.Module:
        """A rounded copy."""
        return copy.deepcopy(model).half().float().eval()


@dataclass(frozen=True, kw_only=True)
class Try:
    """One change, to the model or to what it is asked.

    Attributes:
        name: in words, unique.
        attack: on the model; None for none.
        data: what is learned from.
        distortion: of all inputs, by its name in the data's `Form`; None for none.
    """

    name: str
    attack: Attack | None = None
    data: Learned = "none"
    distortion: str | None = None

    def configuration(self) -> dict[str, JsonValue]:
        """Everything about it, for the card."""
        parameters = asdict(self.attack) if self.attack else {}
        name = self.attack.name if self.attack else None
        return {
            "attack": name, "data": self.data, "parameters": parameters,
            "distortion": self.distortion,
        }  # fmt: skip


def has_other_data(host: Host) -> bool:
    """Tell whether there are data of the same form with other classes."""
    return host.data in ("digits", "cifar10")


def tries(mark: Mark, setting: str) -> tuple[Try, ...]:
    """Every change of a mark's host in a setting, what costs nothing first."""
    if mark.training.harden:
        return (Try(name="nothing"), *_tuning(mark.host))
    kept = (
        Try(name="nothing"),
        *_storage(setting),
        *(Try(name=name, distortion=name) for name in _distortions(mark.host)),
        *_tuning(mark.host),
    )
    # The students of the same data's ResNet-18 tell as much in a tenth of the time.
    return kept if mark.host.network == "alexnet" else (*kept, *_extraction(mark.host))


def _distortions(host: Host) -> tuple[str, ...]:
    kinds = {"pointnet": POINTS, "sound": SOUND}
    return tuple(kinds.get(host.network, DISTORTIONS))


def _storage(setting: str) -> Iterator[Try]:
    shares = tuple(tenth / 10 for tenth in range(1, 10)) if setting != "standard" else (0.5, 0.9)
    yield from (Try(name=f"pruned, {share:.0%}", attack=Prune(share=share)) for share in shares)
    yield from (Try(name=f"{bits}-bit weights", attack=Quantize(bits=bits)) for bits in (8, 4))
    yield Try(name="fp16 weights", attack=Half())


def _tuning(host: Host) -> Iterator[Try]:
    """Fine-tuning for a third of the epochs of the host's own training."""
    recipe = host.recipe
    tune = partial(FineTune, epochs=max(1, recipe.epochs // 3), batch_size=recipe.batch_size)
    # The attack is SGD, whatever the host was trained with.
    rate = recipe.learning_rate if recipe.optimizer == "sgd" else 0.01
    full = tune(learning_rate=rate)
    yield Try(name="FTLL", attack=replace(full, last_layer_only=True), data="same")
    new = replace(full, last_layer_only=True, new_classifier=True)
    yield Try(name="RTLL", attack=new, data="same")
    yield Try(name="FTAL, 0.1× rate", attack=tune(learning_rate=0.1 * rate), data="same")
    yield Try(name="FTAL", attack=full, data="same")
    renewed = replace(full, new_classifier=True)
    yield Try(name="RTAL", attack=renewed, data="same")
    if has_other_data(host):
        yield Try(name="transfer to other classes", attack=renewed, data="other")


def _extraction(host: Host) -> Iterator[Try]:
    """Students; a long training is worth half of its epochs to them, a short one all."""
    recipe = host.recipe
    epochs = recipe.epochs // 2 if recipe.epochs >= _LONG else recipe.epochs
    learn = partial(
        Distill,
        epochs=epochs,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate if recipe.optimizer == "sgd" else 0.01,
    )
    yield Try(name="distilled", attack=learn(), data="same")
    if has_other_data(host):
        yield Try(name="knockoff on other inputs", attack=learn(hard=True), data="other")
