"""Gradient-optimized passports: search by gradient for what fits the stolen model.

Published rule: random passports and a new signature, trained with the owner's head for accuracy
and bits. Our rule: passports are not the claimant's to train; what he can vary continuously are
the factors of a coloured reading, and those are trained for the bits of his key.

Source:
    L. Fan, K. W. Ng, C. S. Chan, "Rethinking Deep Neural Network Ownership Verification",
    NeurIPS 2019 (their ambiguity attacks), with Adam in place of SGD.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from modeldeed.attacks.forgery._factors import (
    OpenLayer,
    coloured,
    open_layers,
    quantized,
    with_factors,
)
from modeldeed.attacks.forgery._fitting import Fit, fit, training_passports
from modeldeed.attacks.forgery.closed_form import random_bits, random_passports
from modeldeed.attacks.forgery.published import PublishedClaim, layers_of
from modeldeed.attacks.forgery.registry import Claim, Forgery, Stolen, forger, register
from modeldeed.errors import OptionError

__all__ = ["OptimizedPassports"]


@register(
    "optimized-passports",
    needs=("weights", "data", "the owner's heads and statistics"),
    unknown=("the owner's passports", "the owner's bits"),
    source="Fan et al., NeurIPS 2019",
)
@dataclass(frozen=True, kw_only=True)
class OptimizedPassports(Forgery):
    """Train passports for a signature of one's own; under our rule train factors.

    Attributes:
        fitting: of passports.
        factor_steps: of Adam on factors.
    """

    fitting: Fit = field(
        default_factory=lambda: Fit(steps=260, warm_up=0, unsigned=60, passport_rate=0.05)
    )
    factor_steps: int = 60

    def published(self, stolen: Stolen, generator: torch.Generator) -> PublishedClaim:
        """Random passports, trained with the owner's frozen heads.

        Raises:
            OptionError: the owner's heads are not given.
        """
        if stolen.heads is None:
            raise OptionError("optimized-passports needs the owner's heads: Stolen(heads=...)")
        heads = stolen.heads
        layers = layers_of(stolen.model, stolen.example)
        bits = random_bits(layers, generator)
        passports = training_passports(random_passports(layers, generator))
        fit(
            stolen.model,
            stolen.data,
            passports,
            bits,
            heads,
            self.fitting,
            generator,
            statistics=stolen.statistics,
            train_heads=False,
        )
        found = tuple(passport.detach() for passport in passports)
        return PublishedClaim(found, bits, heads, stolen.statistics)

    def claims(self, stolen: Stolen, generator: torch.Generator) -> tuple[Claim, ...]:
        """Factors trained for the bits of the forger's key."""
        owner = forger(generator)
        passport = coloured(stolen, owner)
        factors = {
            layer.ordinal: quantized(self._trained(layer))
            for layer in open_layers(stolen, passport)
        }
        return with_factors(stolen, owner, passport, factors, "trained")

    def _trained(self, layer: OpenLayer) -> Tensor:
        """X after some steps that push bᵢ cᵢ ⟨X wᵢ, Qᵢ⟩ / ‖X wᵢ‖ up, from what was measured."""
        factor = (layer.factor.to(layer.rows) / 127).requires_grad_()
        optimizer = torch.optim.Adam([factor], lr=0.02)
        for _ in range(self.factor_steps):
            seen = layer.rows @ factor.T
            read = (seen * layer.keyed).sum(1) / seen.norm(dim=1).clamp_min(1e-12)
            loss = (2 - layer.signed * read).clamp_min(0).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        return factor.detach()
