"""Layers chosen after the fact: claim only what happens to match.

Half of all bits match under any key. Whoever may name his layers, or his channels, after reading
the suspect leaves out the others and is left with a perfect signature. Our rule: the list stands
in the anchor, and another list is another key.

Source:
    This project.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from modeldeed.anchor import Anchor, Target
from modeldeed.attacks.forgery.registry import Claim, Forgery, Stolen, forger, register
from modeldeed.passport import Passport

__all__ = ["LateLayers"]


@register(
    "late-layers",
    needs=("weights",),
    unknown=("the owner's key", "any data"),
    source="this project",
)
@dataclass(frozen=True, kw_only=True)
class LateLayers(Forgery):
    """Leave out what does not match: channels, or whole layers."""

    def claims(self, stolen: Stolen, generator: torch.Generator) -> tuple[Claim, ...]:
        """An anchor that leaves the wrong channels out, and one with the better layers alone."""
        owner = forger(generator)
        passport = Passport.issue(stolen.model, owner, example=stolen.example)
        anchor = passport.manifest.anchor
        with torch.no_grad():
            margins = passport.branch.signed_bits() * passport.branch.readings().gamma
        layers = torch.split(margins, [target.channels for target in anchor.targets])
        chosen = tuple(
            _without(target, (margin <= 0).nonzero().flatten().tolist())
            for target, margin in zip(anchor.targets, layers, strict=True)
        )
        kept = sum(target.bits for target in chosen)
        # Checked again, as a judge's parser would.
        edited = Anchor.model_validate(anchor.model_copy(update={"targets": chosen}).model_dump())
        manifest = passport.manifest.model_copy(update={"anchor": edited}).signed(owner)
        rates = [float((margin > 0).float().mean()) for margin in layers]
        order = sorted(range(len(rates)), key=lambda i: -rates[i])[: -(-len(rates) // 2)]
        better = [anchor.targets[i].norm for i in sorted(order)]
        counts = [int((layers[i] > 0).sum()) for i in order]
        subset = Passport.issue(stolen.model, owner, example=stolen.example, targets=better)
        return (
            Claim("an anchor without the channels that do not match", owner, manifest,
                  unbound=(kept, kept)),
            Claim("an anchor with the better half of the layers", owner, subset,
                  unbound=(sum(counts), sum(len(layers[i]) for i in order))),
        )  # fmt: skip


def _without(target: Target, channels: list[int]) -> Target:
    """The target with these channels left out; at least one stays."""
    kept = channels if len(channels) < target.channels else channels[1:]
    return target.model_copy(update={"left_out": tuple(kept)})
