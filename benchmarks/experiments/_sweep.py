"""The attacks of the robustness experiment, scaled to a host."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from pydantic import JsonValue

from benchmarks.hosts import QUICK, Host, full_host
from modeldeed.attacks import Attack, FineTune, LowVarianceResampling, Prune, Quantize
from modeldeed.data import Dataset

__all__ = ["ENERGIES", "HOSTS", "Learned", "Try", "learned_data", "sweep"]

Learned = Literal["same", "tenth", "other", "none"]
"""What an attack learns from: the owner's training data, a tenth of them, other data, nothing."""

DIGITS, NARROW_CIFAR = QUICK
HOSTS: dict[str, Host] = {
    "quick": DIGITS,
    "standard": replace(NARROW_CIFAR, recipe=replace(NARROW_CIFAR.recipe, epochs=6)),
    "full": full_host("resnet18"),
}
ENERGIES = {"quick": (0.95, 0.8, 0.7), "standard": (0.8,), "full": (0.95, 0.8, 0.7)}
"""Of iterated resampling: each costs a third more than the host's own training."""
SHARES = tuple(tenth / 10 for tenth in range(1, 10))


@dataclass(frozen=True, kw_only=True)
class Try:
    """One attack with its strength.

    Attributes:
        strength: in words, unique among those of the attack.
        attack: what is done; None for nothing.
        data: what is learned from.
        twin: do the same to the unmarked twin, to see what the attack costs without a mark.
    """

    strength: str
    attack: Attack | None
    data: Learned = "none"
    twin: bool = True

    @property
    def name(self) -> str:
        """Of the attack."""
        return self.attack.name if self.attack else "none"

    def configuration(self) -> dict[str, JsonValue]:
        """Everything about it, for the card."""
        parameters = asdict(self.attack) if self.attack else {}
        return {"attack": self.name, "data": self.data, "parameters": parameters}


def sweep(setting: str) -> tuple[Try, ...]:
    """Every attack on a setting's host, the weakest of each kind first.

    Fine-tuning takes half the epochs of the host's own training, each pass of resampling a third.
    """
    host = HOSTS[setting]
    return (
        Try(strength="–", attack=None),
        *_fine_tuning(host),
        *_storage(),
        *_resampling(host, ENERGIES[setting]),
    )


def _fine_tuning(host: Host) -> list[Try]:
    recipe = host.recipe
    tune = partial(
        FineTune,
        epochs=recipe.epochs // 2,
        batch_size=recipe.batch_size,
        bfloat16=recipe.bfloat16,
    )
    found: list[Try] = []
    kinds: tuple[tuple[Learned, bool, float, str], ...] = (
        ("same", False, 0.1, "same data"),
        ("same", False, 1.0, "same data"),
        ("same", True, 1.0, "same data, new classifier"),
        ("other", True, 0.1, "other data, new classifier"),
        ("other", True, 1.0, "other data, new classifier"),
    )
    for source, new, factor, words in kinds:
        attack = tune(learning_rate=factor * recipe.learning_rate, new_classifier=new)
        strength = f"{words}, {factor:g}× rate"
        # Only on another task does the accuracy say nothing without one to compare with.
        twin = source == "other"
        found.append(Try(strength=strength, attack=attack, data=source, twin=twin))
    return found


def _storage() -> list[Try]:
    return [
        *(Try(strength=f"global, {share:.0%}", attack=Prune(share=share)) for share in SHARES),
        *(
            Try(strength=f"each layer, {share:.0%}", attack=Prune(share=share, scope="layer"))
            for share in SHARES
        ),
        *(Try(strength=f"{bits} bits", attack=Quantize(bits=bits)) for bits in (8, 4)),
    ]


def _resampling(host: Host, energies: tuple[float, ...]) -> list[Try]:
    recipe = host.recipe
    tuned = partial(
        LowVarianceResampling,
        epochs=recipe.epochs // 3,
        learning_rate=recipe.learning_rate,
        batch_size=recipe.batch_size,
        bfloat16=recipe.bfloat16,
    )
    once = [
        Try(strength=f"once, energy {energy:g}, {fill}", data="same", attack=attack, twin=False)
        for energy, fill, attack in (
            (0.95, "zero", LowVarianceResampling(fill="zero")),
            (0.95, "noise", LowVarianceResampling()),
            (0.8, "noise", LowVarianceResampling(energy=0.8)),
        )
    ]
    mended = [
        Try(
            strength=f"4 passes, energy {energy:g}, noise, fine-tuned",
            data="same",
            attack=tuned(passes=4, energy=energy),
            twin=False,
        )
        for energy in energies
    ]
    poor = Try(
        strength="4 passes, energy 0.8, noise, fine-tuned on a tenth of the data",
        data="tenth",
        attack=tuned(passes=4, energy=0.8, epochs=10 * (recipe.epochs // 3)),
        twin=False,
    )
    return [*once, *mended, poor]


def learned_data(host: Host, own: Dataset, root: Path | None) -> dict[Learned, Dataset]:
    """The data sets behind the words of `Learned`.

    Other data are CIFAR-100 for CIFAR-10, as large as the host's own; for the digits their upper
    five classes, turned by a right angle.

    Raises:
        DataError: data are missing.
    """
    tenth = own.subset(train=len(own.y_train) // 10)
    return {"same": own, "none": own, "tenth": tenth, "other": _other_data(host, own, root)}


def _other_data(host: Host, own: Dataset, root: Path | None) -> Dataset:
    if host.data == "cifar10":
        return replace(host, data="cifar100").load(root, own.x_train.device)
    first = own.num_classes // 2
    train, test = own.y_train >= first, own.y_test >= first
    return replace(
        own,
        name=f"{own.name}, classes {first} and up, turned",
        x_train=torch.rot90(own.x_train[train], dims=(2, 3)).contiguous(),
        y_train=own.y_train[train] - first,
        x_test=torch.rot90(own.x_test[test], dims=(2, 3)).contiguous(),
        y_test=own.y_test[test] - first,
        classes=own.classes[first:],
    )
