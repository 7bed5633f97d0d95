"""Assignments: which row of a suspect's weight is which of the reference's, and which column.

Rows are compared once columns are in order, and columns once rows are, so both are found in turns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from modeldeed.alignment.maps import rows_assigned
from modeldeed.inspecting.placement import Placement, cosines_of, gathered

__all__ = ["Side", "improved", "signature_order", "unsigned"]

_ROUNDS = 3
_LARGE = 1_024  # columns whose order is kept once it is known: assignments of luck take minutes

Side = tuple[Tensor, Tensor] | None
"""An order and the signs of its channels, each of the reference's length; None while unknown."""


def improved(
    reference: Tensor, suspect: Tensor, start: tuple[Side, Side]
) -> tuple[Placement, float]:
    """Assign rows, then columns, in turns; and how alike the rows are at last."""
    rows, columns = start
    turned = (reference.transpose(0, 1), suspect.transpose(0, 1))
    for _ in range(_ROUNDS):
        if columns is not None:
            before, rows = rows, _assigned(reference, suspect, columns)
            if _same(before, rows):
                break
        if rows is not None and not (columns is not None and len(columns[0]) > _LARGE):
            before, columns = columns, _assigned(*turned, rows)
            if _same(before, columns):
                break
    assert rows is not None
    assert columns is not None
    placement = Placement(rows[0], columns[0])
    ordered = gathered(suspect, placement) * columns[1][:, None]
    cosines = cosines_of(reference, ordered * _equalizing(reference, ordered), 0).abs()
    speaks = cosines > 0
    return placement, float(cosines[speaks].mean()) if bool(speaks.any()) else 0.0


def unsigned(order: Tensor) -> tuple[Tensor, Tensor]:
    """An order in which no channel changed its sign."""
    return order, torch.ones(len(order))


def _same(one: Side, two: Side) -> bool:
    return one is not None and two is not None and torch.equal(one[0], two[0])


def _assigned(reference: Tensor, suspect: Tensor, columns: tuple[Tensor, Tensor]) -> Side:
    """Assign rows by cosine, the columns being in an order: of each of the reference's.

    Columns are brought to equal lengths first: if they were scaled, the long ones would decide.
    """
    order, signs = columns
    ordered = gathered(suspect, Placement(torch.arange(suspect.shape[0]), order))
    equal = ordered * (signs[:, None] * _equalizing(reference, ordered))
    return _by_rows(reference.flatten(1), equal.flatten(1))


def _by_rows(reference: Tensor, suspect: Tensor) -> tuple[Tensor, Tensor]:
    found = rows_assigned(reference, suspect, torch.ones(len(reference)))
    rows, signs = torch.full((len(reference),), -1), torch.ones(len(reference))
    used = found.place >= 0
    rows[found.place[used]] = torch.arange(len(suspect))[used]
    signs[found.place[used]] = found.factor[used].sign()
    return rows, signs


def _equalizing(reference: Tensor, ordered: Tensor) -> Tensor:
    """Factors that make columns as long as the reference's, ``(I, 1)``."""
    own, theirs = (w.square().sum((0, 2)).sqrt() for w in (reference, ordered))
    return torch.where(theirs > 0, own / theirs.clamp_min(1e-30), 1.0)[:, None]


def signature_order(reference: Tensor, suspect: Tensor) -> Tensor:
    """Rows whose magnitudes are alike: the order of columns has no part in these."""
    return _by_rows(_signature(reference), _signature(suspect))[0]


def _signature(weight: Tensor) -> Tensor:
    """Moments of a row's weights at every place of the kernel: no order of columns changes them."""
    scaled = weight / weight.square().mean((1, 2), keepdim=True).sqrt().clamp_min(1e-30)
    square = scaled.square()
    parts = [scaled.abs(), square, scaled.abs() * square, square * square]
    moments = torch.cat([part.mean(1) for part in parts], 1)
    return moments - moments.mean(0)
