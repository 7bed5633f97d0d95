"""What happened to a weight's values once its order and scales are undone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from modeldeed.inspecting.fitting import PRECISION, Fit
from modeldeed.inspecting.grids import Grid, find_grid
from modeldeed.inspecting.placement import gathered

__all__ = ["Changes", "changes_of"]

_EQUAL = 2e-6  # relative distance that rounding alone makes
_PRUNED = 0.02
_CLEAR = 0.75  # of a step: a weight that long would not have been rounded to zero
_HALF = 0.505  # of a step: what rounding takes at most
_RANK_REST = 1e-5
_RANK_SHARE = 0.8
_NOISE = 1.15  # times the edge of the spectrum of white noise
_LEAST_SIDE, _LEAST_SIZE = 8, 512
_RANKED = 2**15


@dataclass(frozen=True)
class Changes:
    """What happened to the values.

    Attributes:
        zeros: share of weights that are zero in the suspect.
        pruned: share of weights that were set to zero, beyond what rounding does and beside whole
            rows.
        smallest: whether it were the smallest ones; None where nothing was pruned.
        silenced: whole rows that were set to zero.
        grid: that the values lie on and the reference's do not; None for none.
        rounded: whether rounding to that grid explains everything.
        change: relative L2 distance of the weights that are left.
        kept: how much of the reference is in them: its coefficient, 1 where nothing is added to it.
        kind: of what neither zeros nor rounding explain.
        rank: of a low-rank change.
        bits: that write the suspect down, given all of this.
    """

    zeros: float
    pruned: float
    smallest: bool | None
    silenced: int
    grid: str | None
    rounded: bool
    change: float
    kept: float
    kind: str | None
    rank: int | None
    bits: float


def changes_of(reference: Tensor, suspect: Tensor, fit: Fit, *, related: bool) -> Changes:
    """Take a weight's change apart.

    Args:
        reference: ``(O, I, K)``, float32.
        suspect: as it is stored, ``(O′, I′, K)``.
        fit: the suspect in the reference's order, factors undone.
        related: whether it is the reference that changed; else only the grid is looked for.
    """
    grid, step = _new_grid(reference, suspect, fit)
    expected = reference * fit.factor
    there = (fit.placement.rows >= 0)[:, None, None] & (fit.placement.columns >= 0)[:, None]
    there = there.expand(reference.shape)
    gone = (fit.ordered == 0) & (reference != 0) & there
    if step is not None:
        long = torch.where(fit.factor != 0, expected, reference).abs()
        gone &= long > _CLEAR * step
    held = there & ~gone
    dead = (fit.ordered == 0).flatten(1).all(1) & (fit.placement.rows >= 0)
    dead &= (reference != 0).flatten(1).any(1)
    alive = there & ~dead[:, None, None]
    gone &= alive
    pruned = float(gone.sum()) / max(1, int(alive.sum()))
    error = torch.where(held, fit.value - reference, 0.0)
    size = float(torch.where(held, reference, 0.0).double().norm())
    change = float(error.double().norm()) / size if size > 0 else 0.0
    inner = float((error.double() * reference.double()).sum())
    rounded, left = False, max(0.0, PRECISION + math.log2(max(min(1.0, change), 1e-30)))
    if step is not None:
        off = torch.where(held, (fit.ordered - expected).abs() / step, 0.0)
        most = torch.where(fit.ordered == 0, _CLEAR, _HALF)  # a zero may have been pruned
        rounded = float((off <= most).float().mean()) >= 0.999
        left = min(left, 0.5 * math.log2(max(1.0, 12 * float(off.square().mean()))))
    is_pruned = related and pruned > _PRUNED
    kind, rank = None, None
    equal = 0.0 if fit.scales == "none" and grid is None else _EQUAL
    if related and change > equal and not rounded:
        kind, rank = _kind(reference, error, plain=not is_pruned and grid is None)
    return Changes(
        zeros=float((suspect == 0).float().mean()),
        pruned=pruned if is_pruned else 0.0,
        smallest=_smallest(reference, gone, alive) if is_pruned else None,
        silenced=int(dead.sum()),
        grid=None if grid is None else grid.name,
        rounded=rounded,
        change=change,
        kept=1 + inner / size**2 if size > 0 else 1.0,
        kind=kind,
        rank=rank,
        bits=_bits(reference, fit, pruned, rank, 0.0 if rounded or change <= equal else left),
    )


def _new_grid(reference: Tensor, suspect: Tensor, fit: Fit) -> tuple[Grid | None, Tensor | None]:
    """A grid that the suspect lies on and the reference does not; its step in the fit's order."""
    grid = find_grid(suspect)
    if grid is None:
        return None, None
    own = find_grid(reference)
    if own is not None and own.name == grid.name:
        return None, None
    return grid, gathered(grid.step, fit.placement).clamp_min(1e-38)


def _smallest(reference: Tensor, gone: Tensor, there: Tensor) -> bool:
    """Whether zeros stand where the reference is small: the mean rank of those, ½ by chance."""
    stride = max(1, reference.numel() // _RANKED)
    seen = there.flatten()[::stride]
    sizes = reference.flatten()[::stride][seen].abs()
    ranks = torch.empty(len(sizes))
    ranks[sizes.argsort()] = torch.linspace(0, 1, len(sizes))
    taken = gone.flatten()[::stride][seen]
    if not bool(taken.any()):
        return False
    share = float(taken.float().mean())
    # Half of the way from chance to the smallest of all.
    return float(ranks[taken].mean()) < 0.5 - 0.25 * (1 - share)


def _kind(reference: Tensor, error: Tensor, *, plain: bool) -> tuple[str, int | None]:
    rows = error.flatten(1).double()
    if not plain or min(rows.shape) < 2:
        return "fine-tuned", None
    rows = rows if rows.shape[0] <= rows.shape[1] else rows.mT
    energies = torch.linalg.eigvalsh(rows @ rows.mT).flip(0).clamp_min(0)
    total = float(energies.sum())
    rest = total - energies.cumsum(0)
    rank = int((rest > _RANK_REST * total).sum()) + 1
    sides = len(energies)
    if rank <= max(sides // 3, min(8, int(_RANK_SHARE * sides))):
        inner = float((error.double() * reference.double()).sum())
        if abs(inner + total) < 0.02 * total:
            return "components removed", rank
        return "low-rank change", rank
    if min(rows.shape) >= _LEAST_SIDE and rows.numel() >= _LEAST_SIZE:
        deviation = math.sqrt(total / rows.numel())
        edge = deviation * (math.sqrt(rows.shape[0]) + math.sqrt(rows.shape[1]))
        if math.sqrt(float(energies[0])) < _NOISE * edge:
            return "noise added", None
    return "fine-tuned", None


def _bits(reference: Tensor, fit: Fit, pruned: float, rank: int | None, left: float) -> float:
    """Order and factors, which weights are gone, and what is left of the change for each."""
    count = reference.numel()
    bits = fit.overhead
    if 0 < pruned < 1:
        bits -= count * (pruned * math.log2(pruned) + (1 - pruned) * math.log2(1 - pruned))
    if rank is not None:
        return bits + min(left * count, rank * sum(reference.flatten(1).shape) * PRECISION)
    return bits + (1 - pruned) * count * left
