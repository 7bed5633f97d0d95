"""Read-off: take passports as they come, and call what they read one's signature.

Published rule: bits are free, so whatever random passports read *is* a perfect signature; a solved
head gives the accuracy. Our rule: bits follow from the key. What was read is written into the
manifest all the same, and the key as it is claimed as well.

Source:
    This project.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import torch

from modeldeed.attacks.forgery.closed_form import random_passports, solved_heads
from modeldeed.attacks.forgery.published import PublishedClaim, layers_of
from modeldeed.attacks.forgery.registry import Claim, Forgery, Stolen, forger, register
from modeldeed.passport import Passport
from modeldeed.passport.evidence import files

__all__ = ["ReadOff"]


@register(
    "read-off",
    needs=("weights",),
    unknown=("the owner's passports", "the owner's bits", "the owner's heads", "any data"),
    source="this project",
)
@dataclass(frozen=True, kw_only=True)
class ReadOff(Forgery):
    """Claim the bits that happen to be read."""

    def published(self, stolen: Stolen, generator: torch.Generator) -> PublishedClaim:
        """Random passports untouched, their signs as the signature, solved heads."""
        layers = layers_of(stolen.model, stolen.example)
        passports = random_passports(layers, generator)
        bits = tuple(
            (layer.rows @ passport[0]).sign()
            for layer, passport in zip(layers, passports, strict=True)
        )
        return PublishedClaim(passports, bits, solved_heads(layers, passports))

    def claims(self, stolen: Stolen, generator: torch.Generator) -> tuple[Claim, ...]:
        """A passport as issued, and one whose manifest names the bits that were read."""
        owner = forger(generator)
        passport = Passport.issue(stolen.model, owner, example=stolen.example)
        folder = stolen.folder / "read-off"
        passport.save(folder)
        with torch.no_grad():
            read = passport.branch.scale_signs() * passport.branch.readings().gamma
        fields = json.loads((folder / files.MANIFEST).read_bytes())
        fields["bits"] = [int(sign) for sign in read.sign().tolist()]
        (folder / files.MANIFEST).write_text(json.dumps(fields), encoding="utf-8")
        total = sum(target.bits for target in passport.branch.targets)
        return (
            Claim("a passport of his own", owner, passport),
            Claim("the bits read, written into the manifest", owner, folder,
                  unbound=(total, total)),
        )  # fmt: skip
