"""How a suspect's weight follows from the reference's: order, signs, scales, and what they leave.

A rule of description length decides: of two explanations the one counts that writes the suspect
down in fewer bits, its own parameters included, and a richer one has to leave less of the energy
that the simpler leaves: at most half for an order, a tenth for factors. So a fine-tuned layer is
not called rescaled for a percent of decay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from modeldeed.inspecting.placement import Placement, gathered, identity

__all__ = ["PRECISION", "Fit", "Scales", "follow", "plain_bits"]

Scales = Literal["none", "rows", "rows and columns"]

PRECISION = 24
"""Bits of a weight that nothing is known of: of the significand of single precision."""
_ROUNDS = 8
_OF_ORDER, _OF_SCALES = 0.5, 0.1
_TINY = 1e-38


@dataclass(frozen=True)
class Fit:
    """One explanation of a weight by the reference's.

    Attributes:
        placement: where channels stand.
        scales: which factors it takes.
        ordered: the suspect in the reference's order, ``(O, I, K)``.
        value: the same with factors undone: what is to be compared with the reference.
        factor: of each weight, ``ordered = factor · value``, ``(O, I, 1)``.
        cosine: of the reference with ``value``, where the suspect is not zero.
        change: relative L2 distance there.
        overhead: bits of order and factors.
        bits: that write the suspect down, given the reference, overhead included.
    """

    placement: Placement
    scales: Scales
    ordered: Tensor
    value: Tensor
    factor: Tensor
    cosine: float
    change: float
    overhead: float
    bits: float

    @property
    def flipped(self) -> bool:
        """Whether channels changed their sign."""
        return bool((self.factor < 0).any())


def follow(reference: Tensor, suspect: Tensor, found: Placement) -> Fit:
    """The best explanation by order and scales.

    Args:
        reference: ``(O, I, K)``, float32.
        suspect: ``(O′, I′, K)``.
        found: where its channels seem to stand.

    Returns:
        The shortest, by the rule of this module.
    """
    placements = [identity(reference.shape)] if reference.shape == suspect.shape else []
    if found.moved or not placements:
        placements.append(found)
    best = _fit(reference, suspect, placements[0], "none")
    for scales in ("none", "rows", "rows and columns"):
        for placement in placements if scales != "none" else placements[1:]:
            tried = _fit(reference, suspect, placement, scales)
            share = _OF_ORDER if tried.scales == best.scales else _OF_SCALES
            most = share * min(1.0, best.change) ** 2
            if tried.bits < best.bits and tried.change**2 <= most:
                best = tried
    return best


def _fit(reference: Tensor, suspect: Tensor, placement: Placement, scales: Scales) -> Fit:
    """Fit factors of channels for a given order.

    Args:
        reference: ``(O, I, K)``, float32.
        suspect: ``(O′, I′, K)``.
        placement: of its channels.
        scales: which factors are fitted, by least squares.
    """
    ordered = gathered(suspect, placement)
    kept = torch.where(ordered != 0, reference, 0.0)  # what was set to zero is told apart later
    own, theirs, products = (
        (kept * kept).sum(2), (ordered * ordered).sum(2), (kept * ordered).sum(2)
    )  # fmt: skip
    rows, columns = _factors(own, theirs, products, scales)
    inverse = rows[:, None] * columns
    value = ordered * inverse[:, :, None]
    inner = float((products * inverse).sum())
    lengths = float(own.sum()) * float((theirs * inverse.square()).sum())
    error = (value - kept).square_().sum((1, 2)).double()
    size = own.sum(1).double()
    weights = (ordered != 0).sum((1, 2)).double()
    rest = (error / size.clamp_min(_TINY)).clamp(4.0**-PRECISION, 1)
    parameters = {"none": 0, "rows": len(rows), "rows and columns": sum(own.shape)}[scales]
    overhead = 0.5 * math.log2(max(2, reference.numel())) * parameters + _order_bits(placement)
    bits = overhead + float((weights * (PRECISION + 0.5 * rest.log2())).sum())
    return Fit(
        placement=placement,
        scales=scales,
        ordered=ordered,
        value=value,
        factor=torch.where(inverse != 0, 1 / inverse, 0.0)[:, :, None],
        cosine=inner / math.sqrt(lengths) if lengths > 0 else 0.0,
        change=math.sqrt(float(error.sum()) / float(size.sum())) if float(size.sum()) > 0 else 0.0,
        overhead=overhead,
        bits=bits,
    )


def plain_bits(reference: Tensor, suspect: Tensor) -> float:
    """What a weight takes if nothing but a change of values is assumed.

    Args:
        reference: ``(O, I, K)``, float32.
        suspect: of the same shape.
    """
    error = (suspect - reference).square().sum((1, 2)).double()
    size = reference.square().sum((1, 2)).double()
    rest = (error / size.clamp_min(_TINY)).clamp(4.0**-PRECISION, 1)
    return reference[0].numel() * float((PRECISION + 0.5 * rest.log2()).sum())


def _order_bits(placement: Placement) -> float:
    """log2 of the number of ways in which so many channels change places."""
    bits = 0.0
    for places, moved in (
        (placement.rows, placement.moved_rows),
        (placement.columns, placement.moved_columns),
    ):
        bits += (math.lgamma(len(places) + 1) - math.lgamma(len(places) - moved + 1)) / math.log(2)
    return bits


def _factors(
    own: Tensor, theirs: Tensor, products: Tensor, scales: Scales
) -> tuple[Tensor, Tensor]:
    """What the suspect's rows and columns have to be multiplied with, ``(O,)`` and ``(I,)``.

    Args:
        own: squares of the reference by row and column, ``(O, I)``.
        theirs: likewise of the suspect.
        products: of both.
        scales: which factors.
    """
    rows, columns = torch.ones(own.shape[0]), torch.ones(own.shape[1])
    if scales == "none":
        return rows, columns
    if scales == "rows":
        return _quotient(products.sum(1), theirs.sum(1)), columns
    rows, columns = _started(own, theirs, products)
    for _ in range(_ROUNDS):
        rows = _quotient((products * columns).sum(1), (theirs * columns.square()).sum(1))
        columns = _quotient((products.mT * rows).sum(1), (theirs.mT * rows.square()).sum(1))
    return rows, columns


def _started(own: Tensor, theirs: Tensor, products: Tensor) -> tuple[Tensor, Tensor]:
    """Signs by the leading pair of the cells' cosines, sizes by the mean of their logarithms.

    Factors of rows times factors of columns are a matrix of rank one.
    """
    lengths = (own * theirs).clamp_min(_TINY).sqrt()
    cosines = products / lengths
    left, right = torch.ones(own.shape[0]), torch.ones(own.shape[1])
    # A start that no symmetry of signs can cancel: the row that says most.
    right = cosines[cosines.abs().sum(1).argmax()].clone()
    for _ in range(_ROUNDS):
        left = cosines @ right
        right = cosines.mT @ (left / left.norm().clamp_min(_TINY))
        right = right / right.norm().clamp_min(_TINY)
    valid = ((own > 0) & (theirs > 0)).float()
    ratio = torch.where(valid > 0, (own.clamp_min(_TINY) / theirs.clamp_min(_TINY)).log() / 2, 0.0)
    of_rows = ratio.sum(1) / valid.sum(1).clamp_min(1)
    of_columns = ((ratio - of_rows[:, None]) * valid).sum(0) / valid.sum(0).clamp_min(1)
    signs = (torch.where(side < 0, -1.0, 1.0) for side in (left, right))
    return tuple(s * logs.exp() for s, logs in zip(signs, (of_rows, of_columns), strict=True))  # type: ignore[return-value]


def _quotient(above: Tensor, below: Tensor) -> Tensor:
    return torch.where(below > 0, above / below.clamp_min(_TINY), 0.0)
