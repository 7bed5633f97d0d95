"""Doctored reference: press one's bits into a copy of a stolen model and show that as the source.

No training is needed: every row gets just so much of its passport row that it reads as wanted. The
copy hardly differs from the original, and carries the forger's mark for good.

Source:
    This project.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from modeldeed.attacks._layers import copy_of
from modeldeed.attacks.forgery.registry import Claim, Forgery, Stolen, forger, register
from modeldeed.errors import OptionError
from modeldeed.passport import Passport

__all__ = ["DoctoredReference", "planted"]


def planted(model: nn.Module, passport: Passport, margin: float) -> nn.Module:
    """A copy that reads every bit of a passport with at least some margin.

    Args:
        model: not changed.
        passport: issued on a model of this architecture, read from weights.
        margin: in standard deviations of an unrelated row.

    Returns:
        The copy, in evaluation mode.
    """
    copy = copy_of(model)
    branch = passport.branch
    for ordinal, target in enumerate(branch.targets):
        norm = copy.get_submodule(target.norm)
        weight = copy.get_parameter(target.weight)
        rows = weight.data.movedim(target.axis, 0)
        keyed = branch.secrets[ordinal].passports[0].movedim(target.axis, 0).to(rows)
        scale = getattr(norm, "weight", None)
        wanted = branch.secrets[ordinal].bits.to(rows)
        if scale is not None:
            wanted = wanted * scale.detach().sign()
        flat, passports = rows.flatten(1), keyed.flatten(1)
        length = flat.norm(dim=1)
        lacking = margin * length - wanted * (flat * passports).sum(1)
        step = wanted * lacking.clamp_min(0) / target.fan
        rows += (step[:, None] * passports).reshape(rows.shape)
    return copy


@register(
    "doctored-reference",
    needs=("weights",),
    unknown=("the owner's key", "any data"),
    source="this project",
)
@dataclass(frozen=True, kw_only=True)
class DoctoredReference(Forgery):
    """Show a doctored copy as the source of the original.

    Attributes:
        margin: pressed into each row, in standard deviations.

    Raises:
        OptionError: the margin is not positive.
    """

    margin: float = 0.5

    def __post_init__(self) -> None:
        if self.margin <= 0:
            raise OptionError(f"a margin is positive, got {self.margin}")

    def claims(self, stolen: Stolen, generator: torch.Generator) -> tuple[Claim, ...]:
        """The passport that the copy carries; and one that was issued on the copy itself."""
        owner = forger(generator)
        passport = Passport.issue(stolen.model, owner, example=stolen.example)
        copy = planted(stolen.model, passport, self.margin)
        again = Passport.issue(copy, owner, example=stolen.example)
        return (
            Claim("a passport that a doctored copy carries", owner, passport, copy),
            Claim("a passport anchored to the doctored copy", owner, again),
        )
