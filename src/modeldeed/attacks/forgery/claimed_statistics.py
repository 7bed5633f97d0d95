"""Claimed statistics: choose mean and variance so that the private branch is the public one.

A batch norm undoes any scale and bias if its statistics may be chosen: with k = γ₀/s₀ the private
σ₁ = γ₁/k and μ₁ = μ₀ − (β₀ − β₁)/k give γ₁ (x − μ₁)/σ₁ + β₁ = γ₀ (x − μ₀)/s₀ + β₀, for any key,
without data. It asks no more than that γ₁ and γ₀ have the same sign.

Source:
    This project.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from modeldeed.attacks._layers import copy_of
from modeldeed.attacks.forgery.closed_form import random_passports
from modeldeed.attacks.forgery.published import (
    PublishedClaim,
    TwoLayers,
    affine,
    heads_of,
    layers_of,
)
from modeldeed.attacks.forgery.registry import Claim, Forgery, Stolen, forger, register
from modeldeed.errors import OptionError
from modeldeed.passport import Passport

__all__ = ["ClaimedStatistics", "solved_statistics"]

_SMALLEST = 1e-12
_LEAST = 0.3
"""Of a private scale, in units of the public one."""


def solved_statistics(
    model: nn.Module, scales: Mapping[str, tuple[Tensor, Tensor]]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Statistics under which private scales and biases act as the public ones.

    Args:
        model: with batch norms.
        scales: γ₁ and β₁ by norm.

    Returns:
        Mean and variance by norm. Where the signs of γ₁ and γ₀ differ there is no solution, and
        the channel stays wrong.

    Raises:
        OptionError: a norm keeps no statistics.
    """
    solved = {}
    for name, (gamma, beta) in scales.items():
        norm = model.get_submodule(name)
        mean, own = getattr(norm, "running_mean", None), getattr(norm, "running_var", None)
        if not isinstance(norm, _BatchNorm) or mean is None or own is None:
            raise OptionError(f"{name} ({type(norm).__name__}) keeps no statistics to be claimed")
        deviation = (own + norm.eps).sqrt()
        slope = norm.weight / deviation
        slope = torch.where(slope.abs() < _SMALLEST, _SMALLEST, slope)
        variance = (gamma / slope).square() - norm.eps
        solved[name] = (
            (mean - (norm.bias - beta) / slope).detach(),
            variance.detach().clamp_min(0),
        )
    return solved


@register(
    "claimed-statistics",
    needs=("weights",),
    unknown=("the owner's passports", "the owner's bits", "the owner's heads", "any data"),
    source="this project",
)
@dataclass(frozen=True, kw_only=True)
class ClaimedStatistics(Forgery):
    """Make the private branch work by its statistics alone."""

    def published(self, stolen: Stolen, generator: torch.Generator) -> PublishedClaim:
        """Random passports and heads nobody trained, bits read off, statistics solved for."""
        layers = layers_of(stolen.model, stolen.example)
        passports = random_passports(layers, generator)
        heads = []
        for layer, passport in zip(layers, passports, strict=True):
            head = TwoLayers.drawn(layer.channels, generator)
            with torch.no_grad():
                # A scale is linear in its row of outer weights: its sign is free to choose, and
                # so is its size, which must not be so small that no variance makes up for it.
                gamma, _ = head(passport @ layer.rows.T)
                wanted = layer.signs * layer.scale
                turned = torch.maximum(gamma.abs(), _LEAST * wanted.abs()) * wanted.sign()
                head.outer.mul_((turned / gamma)[:, None])
            heads.append(head)
        made = heads_of(heads)
        with torch.no_grad():
            statistics = solved_statistics(stolen.model, affine(layers, passports, made))
        bits = tuple(
            (layer.rows @ passport[0]).sign()
            for layer, passport in zip(layers, passports, strict=True)
        )
        return PublishedClaim(passports, bits, made, statistics)

    def claims(self, stolen: Stolen, generator: torch.Generator) -> tuple[Claim, ...]:
        """A passport with skip heads, whose scales are never negative, and solved statistics."""
        owner = forger(generator)
        model = copy_of(stolen.model)
        passport = Passport.issue(model, owner, example=stolen.example, head="skip")
        branch = passport.branch
        with torch.no_grad():
            pairs = branch.affine(branch.readings())
        scales = {target.norm: pair for target, pair in zip(branch.targets, pairs, strict=True)}
        for name, (mean, variance) in solved_statistics(model, scales).items():
            branch.statistics[name].mean.copy_(mean)
            branch.statistics[name].var.copy_(variance)
        folder = stolen.folder / "claimed-statistics"
        passport.save(folder)
        return (
            Claim("a passport of his own with solved statistics", owner, folder, beside_model=True),
        )
