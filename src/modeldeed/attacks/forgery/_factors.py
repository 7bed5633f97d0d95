"""The one continuous thing a claimant brings under our rule: factors of a coloured reading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from modeldeed.attacks.forgery.registry import Claim, Stolen
from modeldeed.owner import Owner
from modeldeed.passport import Passport, TrainingRule
from modeldeed.passport.evidence.coloured import factors_root, seen_weights
from modeldeed.passport.evidence.reading import load_layers, read_signature
from modeldeed.statistics import Budget
from modeldeed.suspects import open_weights

__all__ = ["OpenLayer", "coloured", "open_layers", "quantized", "with_factors"]

_PROBES = 64


def coloured(stolen: Stolen, owner: Owner) -> Passport:
    """A passport with a coloured reading, issued by a forger on the stolen model."""
    return Passport.issue(
        stolen.model,
        owner,
        example=stolen.example,
        reading="coloured",
        probes=stolen.data.x_train[:_PROBES],
    )


@dataclass(frozen=True)
class OpenLayer:
    """A layer whose factor a forger chooses, on the CPU.

    Attributes:
        ordinal: in the canonical list.
        factor: as it was measured, int8 ``(n, D)``.
        rows: of the stolen weight, float32 ``(C, D)``.
        keyed: his key's passport, float32 ±1 ``(C, n)``.
        signed: bᵢ cᵢ, ``(C,)``: what the readings shall be.
    """

    ordinal: int
    factor: Tensor
    rows: Tensor
    keyed: Tensor
    signed: Tensor


def open_layers(stolen: Stolen, passport: Passport) -> Iterator[OpenLayer]:
    """The layers of a forger's passport that have one factor."""
    branch = passport.branch
    sizes = [target.channels for target in branch.targets]
    signed = torch.split(branch.signed_bits(), sizes)
    for ordinal, factor in branch.factors.items():
        if factor.shape[0] != 1:  # grouped convolutions, which a forger may leave alone
            continue
        target = branch.targets[ordinal]
        weight = stolen.model.get_parameter(target.weight).detach().float()
        rows = weight.movedim(target.axis, 0).reshape(target.channels, -1)
        keyed = branch.secrets[ordinal].passports[0].float()
        yield OpenLayer(ordinal, factor[0].cpu(), rows.cpu(), keyed.cpu(), signed[ordinal].cpu())


def quantized(factor: Tensor) -> Tensor:
    """A factor ``(n, D)`` as an anchor takes it: 8-bit integers, ``(1, n, D)``."""
    largest = factor.abs().amax().clamp_min(torch.finfo(torch.float32).tiny)
    return (factor * (127 / largest)).round().to(torch.int8)[None]


def with_factors(
    stolen: Stolen, owner: Owner, passport: Passport, chosen: Mapping[int, Tensor], how: str
) -> tuple[Claim, ...]:
    """What can be handed in with factors that were chosen for a key.

    Args:
        stolen: the model.
        owner: the forger.
        passport: his, with the key that the factors were chosen for.
        chosen: ordinal → factor; the others stay.
        how: they were chosen, in words.

    Returns:
        Two claims: the factors under the old anchor, and a new anchor that commits to them, from
        which another key follows.
    """
    factors = {**passport.branch.factors, **chosen}
    manifest = passport.manifest
    anchor = manifest.anchor
    rule = anchor.passport_rule.checked(
        head=anchor.passport_rule.head, rows="keyed", factors=factors_root(factors)
    )
    renewed = manifest.model_copy(update={"anchor": anchor.model_copy(update={"passport": rule})})
    weights = open_weights(stolen.model)
    layers = load_layers(*seen_weights(weights, anchor.targets, factors))
    free = read_signature(layers, manifest.model_key(owner), Budget())
    return (
        Claim(
            f"factors {how}, under the anchor of others",
            owner,
            Passport(stolen.model, owner, manifest, TrainingRule(), factors),
            unbound=(free.matches, free.bits),
        ),
        Claim(
            f"factors {how}, and an anchor that commits to them",
            owner,
            Passport(stolen.model, owner, renewed, TrainingRule(), factors),
        ),
    )
