"""Reads a claim's bits in a model that is put into the coordinates of the claim's anchor."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from modeldeed.alignment.align import Aligned, align
from modeldeed.alignment.anchored import in_place
from modeldeed.alignment.order import OrderCheck
from modeldeed.alignment.probed import Probed
from modeldeed.errors import SuspectError
from modeldeed.passport.claim import PassportClaim
from modeldeed.passport.evidence.coloured import seen_weights
from modeldeed.passport.evidence.message import codewords_of
from modeldeed.passport.evidence.reading import BoundLayer, load_layers, read_signature
from modeldeed.results import SignatureEvidence
from modeldeed.statistics import Budget
from modeldeed.suspects import open_weights
from modeldeed.suspects.restored import restore

__all__ = ["Read", "Reader", "chosen"]


def chosen(budget: Budget, choices_log2: int) -> Budget:
    """What is paid where what is read could have been chosen in so many ways."""
    return replace(budget, readings=budget.readings << choices_log2)


@dataclass(frozen=True)
class Read:
    """The alignment of a model, the layers that it made, and their bits.

    Attributes:
        aligned: to the reference.
        layers: in the exhibit's coordinates.
        signature: read there, at the price of everything that could be chosen.
        choices_log2: of that, log2.
    """

    aligned: Aligned
    layers: list[BoundLayer]
    signature: SignatureEvidence
    choices_log2: int


@dataclass(frozen=True)
class Reader:
    """Reads a claim's bits in what is put into one reference's coordinates.

    Attributes:
        claim: whose bits.
        reference: that can be run.
        seed: of the probes.
        order: rows that count; None reads in the reference's coordinates.
        exhibit: in whose coordinates the bits are read else; None likewise.
    """

    claim: PassportClaim
    reference: nn.Module
    seed: bytes
    order: OrderCheck | None
    exhibit: nn.Module | None

    def read(self, model: nn.Module | Probed, budget: Budget) -> Read:
        """Align a model, hold it against the exhibit and read it."""
        claim, anchor, key = self.claim, self.claim.manifest.anchor, self.claim.model_key()
        if anchor.probes is None:
            raise SuspectError(
                "the claim's anchor says nothing of inputs, so nothing can be probed"
            )
        aligned = align(
            model,
            self.reference,
            anchor.targets,
            seed=self.seed,
            like=anchor.probes,
            key=key,
            rows=anchor.passport_rule.rows,
            factors=claim.factors,
            exhibit=self.exhibit,
        )
        rows, held, choices = anchor.passport_rule.rows, aligned.weights, 0
        # Where nobody accuses nothing has to stand in its place: a claimant chose the exhibit, and
        # a copy that is older than his deed must not hide behind it.
        if self.exhibit is not None and self.order is not None:
            from_it = {layer.weight: layer.placed for layer in aligned.layers}
            stands = in_place(
                held, self.exhibit, anchor.targets, key, rows, claim.factors, placed=from_it
            )
            held, choices = stands.weights, stands.choices_log2
        weights = restore(open_weights(held), anchor.targets)
        seen = load_layers(*seen_weights(weights, anchor.targets, claim.factors))
        layers = _held_to(self.order, seen)
        codewords = codewords_of(key, anchor.targets, claim.manifest.message)
        read = read_signature(layers, key, chosen(budget, choices), rows=rows, codewords=codewords)
        return Read(aligned, layers, read, choices)


def _held_to(order: OrderCheck | None, layers: list[BoundLayer]) -> list[BoundLayer]:
    """Layers in which rows that the order check did not match cannot be read."""
    if order is None:
        return layers
    held = []
    for layer, checked in zip(layers, order.layers, strict=True):
        sign = layer.scale_sign.clone()
        sign[list(checked.unmatched)] = 0
        held.append(replace(layer, scale_sign=sign))
    return held
