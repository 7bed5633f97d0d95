"""Fit passports and heads to a stolen model by gradient descent: what three forgeries share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed.attacks._layers import copy_of
from modeldeed.attacks.forgery.published import (
    Layer,
    PublishedHeads,
    affine,
    layers_of,
    private_branch,
)
from modeldeed.data import Dataset, batches
from modeldeed.errors import OptionError

__all__ = ["Fit", "endless", "fit", "imitation", "training_passports"]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How passports and heads are fitted.

    Attributes:
        steps: of Adam, for accuracy and bits.
        warm_up: steps before them in which heads and passports imitate the released scales and
            biases: they need no data and no pass through the model.
        unsigned: so many of ``steps`` come first and look at accuracy alone: a signature that is
            asked for at once leaves a network of random scales dead.
        batch_size: samples in each.
        passport_rate: learning rate of passports, whose entries start at ±1.
        head_rate: of heads.
        margin: asked of every bit, in standard deviations of an unrelated row.

    Raises:
        OptionError: a field is out of range.
    """

    steps: int = 100
    warm_up: int = 300
    unsigned: int = 0
    batch_size: int = 32
    passport_rate: float = 0.02
    head_rate: float = 2e-3
    margin: float = 0.5

    def __post_init__(self) -> None:
        if self.steps < 1 or self.warm_up < 0 or self.batch_size < 1:
            raise OptionError(
                "a fit needs steps ≥ 1, warm_up ≥ 0 and batch_size ≥ 1, got "
                f"{self.steps}, {self.warm_up}, {self.batch_size}"
            )


def training_passports(passports: Sequence[Tensor]) -> list[Tensor]:
    """Copies of passports that can be trained."""
    return [passport.detach().clone().requires_grad_() for passport in passports]


def fit(
    model: nn.Module,
    dataset: Dataset,
    passports: Sequence[Tensor],
    bits: Sequence[Tensor],
    heads: PublishedHeads,
    rule: Fit,
    generator: torch.Generator,
    *,
    statistics: Mapping[str, tuple[Tensor, Tensor]] | None = None,
    train_heads: bool = True,
) -> None:
    """Train what is trainable for accuracy of the private branch and a signature.

    The model is frozen, its statistics included.

    Args:
        model: not changed.
        dataset: on its device.
        passports: ``(2, D)`` for each layer; trained in place where they require gradients.
        bits: wanted, ±1.
        heads: trained in place if it is a module.
        rule: how.
        generator: of the order of samples.
        statistics: of the private branch; those of the model without them.
        train_heads: False leaves the heads as they are.
    """
    frozen = copy_of(model).requires_grad_(requires_grad=False)
    layers = layers_of(frozen, dataset.x_train[:4])
    groups = _trainable(passports, heads if train_heads else None, rule)
    optimizer = torch.optim.Adam(groups)
    trained = [parameter for group in groups for parameter in group["params"]]

    def step(loss: Tensor, *, signed: bool = True) -> None:
        total = loss + _short(layers, passports, bits, rule.margin) if signed else loss
        optimizer.zero_grad(set_to_none=True)
        total.backward(inputs=trained)  # type: ignore[no-untyped-call]
        optimizer.step()

    for _ in range(rule.warm_up):
        step(imitation(layers, affine(layers, passports, heads)))
    for number, (x, y) in enumerate(endless(dataset, rule, generator)):
        run = private_branch(frozen, affine(layers, passports, heads), statistics)
        step(F.cross_entropy(run(x), y), signed=number >= rule.unsigned)


def _trainable(
    passports: Sequence[Tensor], heads: PublishedHeads | None, rule: Fit
) -> list[dict[str, Any]]:
    """What the optimizer gets, with its learning rates."""
    groups: list[dict[str, Any]] = []
    if free := [passport for passport in passports if passport.requires_grad]:
        groups.append({"params": free, "lr": rule.passport_rate})
    if isinstance(heads, nn.Module):
        groups.append({"params": list(heads.parameters()), "lr": rule.head_rate})
    return groups


def endless(
    dataset: Dataset, rule: Fit, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """As many batches as there are steps, passing over the data as often as needed."""
    size = min(rule.batch_size, len(dataset.y_train))
    left = rule.steps
    while left:
        for batch in batches(dataset.x_train, dataset.y_train, size, generator, drop_last=True):
            yield batch
            left -= 1
            if not left:
                return


def imitation(layers: Sequence[Layer], made: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor:
    """How far private scales and biases lie from the public ones, in mean squares."""
    distances = [
        (made[layer.norm][0] - layer.scale).square().mean()
        + (made[layer.norm][1] - layer.bias).square().mean()
        for layer in layers
    ]
    return torch.stack(distances).sum()


def _short(
    layers: Sequence[Layer], passports: Sequence[Tensor], bits: Sequence[Tensor], margin: float
) -> Tensor:
    """The sign loss: the mean over all bits of what they lack."""
    lacking = [
        (margin - wanted * (layer.rows @ passport[0])).clamp_min(0)
        for layer, passport, wanted in zip(layers, passports, bits, strict=True)
    ]
    return torch.cat(lacking).mean()
