"""Re-trained head: a new signature, new passports, and a head trained until both fit.

Published rule: the head is the claimant's own, so he trains another. Our rule: keyed heads have
nothing to train; a forger may issue with learned heads and train those.

Source:
    Y. Chen et al., "Effective Ambiguity Attack Against Passport-based DNN Intellectual Property
    Protection Schemes through Fully Connected Layer Substitution", CVPR 2023, arXiv 2303.11595.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from modeldeed.attacks._layers import copy_of
from modeldeed.attacks.forgery._fitting import (
    Fit,
    endless,
    fit,
    imitation,
    training_passports,
)
from modeldeed.attacks.forgery.closed_form import random_bits, random_passports
from modeldeed.attacks.forgery.published import PublishedClaim, TwoLayers, heads_of, layers_of
from modeldeed.attacks.forgery.registry import Claim, Forgery, Stolen, forger, register
from modeldeed.data import Dataset
from modeldeed.owner import Owner
from modeldeed.passport import Passport

__all__ = ["RetrainedHead", "with_trained_heads"]


@register(
    "retrained-head",
    needs=("weights", "data"),
    unknown=("the owner's passports", "the owner's bits", "the owner's heads"),
    source="Chen et al., CVPR 2023",
)
@dataclass(frozen=True, kw_only=True)
class RetrainedHead(Forgery):
    """Train passports and heads anew.

    Attributes:
        fitting: of both.
    """

    fitting: Fit = field(default_factory=Fit)

    def published(self, stolen: Stolen, generator: torch.Generator) -> PublishedClaim:
        """Random passports and drawn heads, trained together for a new signature."""
        layers = layers_of(stolen.model, stolen.example)
        bits = random_bits(layers, generator)
        passports = training_passports(random_passports(layers, generator))
        heads = heads_of([TwoLayers.drawn(layer.channels, generator) for layer in layers])
        fit(stolen.model, stolen.data, passports, bits, heads, self.fitting, generator)
        return PublishedClaim(tuple(p.detach() for p in passports), bits, heads)

    def claims(self, stolen: Stolen, generator: torch.Generator) -> tuple[Claim, ...]:
        """A passport with learned heads, trained for its private branch."""
        owner = forger(generator)
        passport = with_trained_heads(stolen, owner, stolen.data, self.fitting, generator)
        return (
            Claim(
                "a passport of his own with heads trained to it", owner, passport, beside_model=True
            ),
        )


def with_trained_heads(
    stolen: Stolen, owner: Owner, dataset: Dataset, rule: Fit, generator: torch.Generator
) -> Passport:
    """A forger's passport whose learned heads make the private branch work; on a copy."""
    model = copy_of(stolen.model)
    passport = Passport.issue(model, owner, example=stolen.example, head="learned")
    for norm, statistics in passport.branch.statistics.items():
        own = model.get_submodule(norm)
        statistics.mean.copy_(own.get_buffer("running_mean"))
        statistics.var.copy_(own.get_buffer("running_var"))
    optimizer = torch.optim.Adam(passport.parameters(), lr=rule.head_rate)

    def step(loss: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    layers = layers_of(model, stolen.example)
    names = [layer.norm for layer in layers]
    with torch.no_grad():
        readings = passport.branch.readings()
    for _ in range(rule.warm_up):
        made = dict(zip(names, passport.branch.affine(readings), strict=True))
        step(imitation(layers, made))
    for x, y in endless(dataset, rule, generator):
        step(F.cross_entropy(passport.branch(x, readings), y))
    return passport
