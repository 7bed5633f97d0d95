"""Where a suspect's channels stand in the reference: which row and column of a weight is which.

A weight is looked at as ``(rows, columns, rest)``: what it writes, what it reads, its kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Placement", "cosines_of", "gathered", "identity"]


@dataclass(frozen=True)
class Placement:
    """Which channels of a suspect's weight belong to which of the reference's.

    Attributes:
        rows: of each of the reference's rows the suspect's, int64 ``(O,)``; −1 for none.
        columns: likewise of its columns, ``(I,)``.
    """

    rows: Tensor
    columns: Tensor

    @property
    def moved_rows(self) -> int:
        """Rows that stand elsewhere; those that are gone are not counted."""
        return _moved(self.rows)

    @property
    def moved_columns(self) -> int:
        """Columns that stand elsewhere."""
        return _moved(self.columns)

    @property
    def moved(self) -> bool:
        """Whether anything stands elsewhere, or is gone."""
        return any(bool((m != torch.arange(len(m))).any()) for m in (self.rows, self.columns))


def _moved(places: Tensor) -> int:
    """How many places do not stand in their own order among those that are left."""
    left = places[places >= 0]
    if len(left) == len(places):
        return int((places != torch.arange(len(places))).sum())
    return int((left != left.sort().values).sum())


def identity(shape: torch.Size) -> Placement:
    """Everything where it stands, for a weight ``(O, I, K)``."""
    return Placement(torch.arange(shape[0]), torch.arange(shape[1]))


def gathered(suspect: Tensor, placement: Placement) -> Tensor:
    """A suspect's weight in the reference's order.

    Args:
        suspect: ``(O′, I′, K)``.
        placement: of it.

    Returns:
        ``(O, I, K)``, zero where there is nothing.
    """
    found = suspect
    for dim, places in enumerate((placement.rows, placement.columns)):
        if len(places) == found.shape[dim] and bool((places == torch.arange(len(places))).all()):
            continue
        found = found.index_select(dim, places.clamp_min(0))
        shape = [-1 if d == dim else 1 for d in range(3)]
        found = torch.where((places >= 0).view(shape), found, 0.0)
    return found


def cosines_of(reference: Tensor, suspect: Tensor, dim: int) -> Tensor:
    """Cosines of rows (``dim`` 0) or columns (1) in the same place; 0 for silent ones."""
    over = [d for d in range(3) if d != dim]
    lengths = reference.square().sum(over) * suspect.square().sum(over)
    inner = (reference * suspect).sum(over)
    return torch.where(lengths > 0, inner / lengths.clamp_min(1e-38).sqrt(), 0.0)
