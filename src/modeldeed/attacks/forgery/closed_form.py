"""Closed form: solve for what a claimant may choose, without data and without training.

Published rule: the reading is linear in the passport, so a least-squares solution reads any wanted
signature; and two FC layers map two vectors to any two others, so a head makes the private scale
and bias equal to the public ones. Our rule: passports, bits and heads follow from the key. What a
claimant still brings are the factors of a coloured reading, in which the reading is linear too; so
they are solved for instead.

Source:
    This project, for the published rule; that freely chosen factors carry any bits stands in
    ``docs/soundness.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modeldeed.attacks.forgery._factors import coloured, open_layers, quantized, with_factors
from modeldeed.attacks.forgery.published import (
    Layer,
    PublishedClaim,
    PublishedHeads,
    TwoLayers,
    at_unit_length,
    heads_of,
    layers_of,
)
from modeldeed.attacks.forgery.registry import Claim, Forgery, Stolen, forger, register

__all__ = ["ClosedForm", "random_bits", "random_passports", "solved_heads"]


def random_passports(layers: Sequence[Layer], generator: torch.Generator) -> tuple[Tensor, ...]:
    """Passports that nobody optimized: mean patches of ±1, ``(2, D)`` for each layer."""
    return tuple(
        torch.randint(2, (2, layer.fan), generator=generator).float().to(layer.rows) * 2 - 1
        for layer in layers
    )


def random_bits(layers: Sequence[Layer], generator: torch.Generator) -> tuple[Tensor, ...]:
    """A new signature, ±1."""
    return tuple(
        torch.randint(2, (layer.channels,), generator=generator).float().to(layer.rows) * 2 - 1
        for layer in layers
    )


def solved_heads(layers: Sequence[Layer], passports: Sequence[Tensor]) -> PublishedHeads:
    """Heads that make the private scales and biases equal to the public ones.

    For linearly independent readings s and t the two rows of their pseudo-inverse are dual to
    them: hidden unit 0 is 1 on s and 0 on t, unit 1 the other way round. So the hidden layer holds
    (1, 0) or (0, 1), which a leaky ReLU leaves alone, and the outer weights are γ₀ and β₀.

    Args:
        layers: of the model.
        passports: of the claim.

    Returns:
        The heads.
    """
    heads = []
    for layer, passport in zip(layers, passports, strict=True):
        readings = at_unit_length(passport @ layer.rows.T).double()
        inner = torch.linalg.pinv(readings.T)
        outer = torch.stack([layer.signs * layer.scale, layer.bias], dim=1)
        heads.append(TwoLayers(inner.to(outer), outer))
    made: PublishedHeads = heads_of(heads)
    return made


def _reading(layer: Layer, passport: Tensor, bits: Tensor) -> Tensor:
    """The least change of a passport after which its readings have the wanted signs."""
    before = layer.rows.double() @ passport.double()
    wanted = bits * before.abs().clamp_min(0.1)
    change = torch.linalg.pinv(layer.rows.double()) @ (wanted - before)
    changed: Tensor = (passport.double() + change).to(passport)
    return changed


@register(
    "closed-form",
    needs=("weights",),
    unknown=("the owner's passports", "the owner's bits", "the owner's heads", "any data"),
    source="this project",
)
@dataclass(frozen=True, kw_only=True)
class ClosedForm(Forgery):
    """Solve for passports and heads; under our rule for the factors of a coloured reading."""

    def published(self, stolen: Stolen, generator: torch.Generator) -> PublishedClaim:
        """A signature of the forger's choice, passports that read it, heads that fit."""
        layers = layers_of(stolen.model, stolen.example)
        bits = random_bits(layers, generator)
        passports = tuple(
            torch.stack([_reading(layer, drawn[0], wanted), drawn[1]])
            for layer, drawn, wanted in zip(
                layers, random_passports(layers, generator), bits, strict=True
            )
        )
        return PublishedClaim(passports, bits, solved_heads(layers, passports))

    def claims(self, stolen: Stolen, generator: torch.Generator) -> tuple[Claim, ...]:
        """Factors that carry all bits of the forger's key; under the old anchor and a new one."""
        owner = forger(generator)
        passport = coloured(stolen, owner)
        factors = {}
        for layer in open_layers(stolen, passport):
            wanted = (layer.keyed * layer.signed[:, None]).double().T
            factors[layer.ordinal] = quantized(wanted @ torch.linalg.pinv(layer.rows.double()).T)
        return with_factors(stolen, owner, passport, factors, "solved for")
