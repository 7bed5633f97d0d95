"""Singular vector: read the owner's bits from the shipped weights, without any key.

Published rule: one passport vector for all rows of a layer plants a spike of rank one, W ≈ b p̄ᵀ.
Its right singular vector is the passport, its left one the bits. Our rule: rows have passports of
their own, so no direction is common to them.

Source:
    This project.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modeldeed.attacks.forgery._factors import coloured, open_layers, quantized, with_factors
from modeldeed.attacks.forgery.closed_form import random_passports, solved_heads
from modeldeed.attacks.forgery.published import Layer, PublishedClaim, layers_of
from modeldeed.attacks.forgery.registry import Claim, Forgery, Stolen, forger, register

__all__ = ["SingularVector", "leading", "share_read"]


def leading(layer: Layer) -> tuple[Tensor, Tensor]:
    """The leading singular vectors of a layer's rows: u₁ ``(C,)`` and v₁ ``(D,)``.

    Together they have two signs; the one is taken in which more of u₁ is positive.
    """
    u, _, v = torch.linalg.svd(layer.rows.double(), full_matrices=False)
    turn = 1.0 if float(u[:, 0].sign().sum()) >= 0 else -1.0
    return (turn * u[:, 0]).to(layer.rows), (turn * v[0]).to(layer.rows)


def share_read(found: Sequence[Tensor], bits: Sequence[Tensor]) -> float:
    """Share of the owner's bits that somebody read, each layer up to its sign.

    Args:
        found: ±1, ``(C,)`` for each layer.
        bits: the owner's, ±1; 0 where there is none.

    Returns:
        In [½, 1]. One sign for each layer is given away: a handful of bits. So pure guessing reads
        somewhat more than a half, about ½ + 0.4/√C in a layer of C.
    """
    read = total = 0
    for one, other in zip(found, bits, strict=True):
        there = other != 0
        same = int((one[there] * other[there].to(one) > 0).sum())
        count = int(there.sum())
        read += max(same, count - same)
        total += count
    return read / total


@register(
    "singular-vector",
    needs=("weights",),
    unknown=("the owner's passports", "the owner's bits", "the owner's heads", "any data"),
    source="this project",
)
@dataclass(frozen=True, kw_only=True)
class SingularVector(Forgery):
    """Claim the leading singular vectors as passports and bits."""

    def published(self, stolen: Stolen, generator: torch.Generator) -> PublishedClaim:
        """p̄_γ := v₁ and b := sign(u₁) in every layer, with solved heads."""
        layers = layers_of(stolen.model, stolen.example)
        drawn = random_passports(layers, generator)
        passports, bits = [], []
        for layer, other in zip(layers, drawn, strict=True):
            left, right = leading(layer)
            passports.append(torch.stack([right * layer.fan**0.5, other[1]]))
            bits.append(left.sign())
        return PublishedClaim(tuple(passports), tuple(bits), solved_heads(layers, passports))

    def claims(self, stolen: Stolen, generator: torch.Generator) -> tuple[Claim, ...]:
        """A coloured reading of nothing but v₁, in which every row is sign(u₁)."""
        owner = forger(generator)
        passport = coloured(stolen, owner)
        layers = layers_of(stolen.model, stolen.example)
        factors = {}
        for layer in open_layers(stolen, passport):
            samples = torch.randn(len(layer.factor), generator=generator)
            right = leading(layers[layer.ordinal])[1].cpu()
            factors[layer.ordinal] = quantized(samples[:, None] * right[None])
        return with_factors(stolen, owner, passport, factors, "that see v₁ alone")
