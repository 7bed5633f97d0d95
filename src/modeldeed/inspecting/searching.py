"""Finding where channels stand, from weights alone: what one layer shows is tried on the others.

A layer's columns stand in the order in which other layers' rows were put. So an order that was
found is tried on the rows and the columns of all that is left, the surest first. No graph is
analyzed and nothing is run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from modeldeed.inspecting.assigning import improved, signature_order, unsigned
from modeldeed.inspecting.placement import Placement, cosines_of, gathered, identity

__all__ = ["place_all"]

_MOST = 8_192  # an assignment holds so many channels squared
_SAME = 0.5  # every row and every column alike at least so much: nothing has changed places
_CERTAIN = 0.9  # mean cosine of rows that leaves no doubt
_SKETCH = 32
_SMALL = 2**15  # weights of a layer on which everything is tried
_PROMISING, _SURE = 0.2, 0.98  # of the way from luck to certainty
_LARGE = 1_024  # channels whose assignment takes long where nothing fits


def place_all(
    pairs: Mapping[str, tuple[Tensor, Tensor]], bound: Callable[[str], float]
) -> dict[str, Placement]:
    """Find the places of all weights, each with the help of those that were found before.

    Args:
        pairs: of each weight the reference's and the suspect's, ``(O, I, K)`` float32; numbers of
            rows and columns may differ.
        bound: of a weight, the least mean cosine of matched rows that is more than chance.

    Returns:
        Placements; as they stand where nothing better was found. Weights of other numbers of
        channels for which nothing was found are left out.
    """
    found = {
        name: identity(one.shape)
        for name, (one, two) in pairs.items()
        if one.shape == two.shape and (max(one.shape[:2]) > _MOST or _stands(one, two))
    }
    search = _Search({name: pair for name, pair in pairs.items() if name not in found})
    search.try_orders([None])
    while search.left:
        level = max(search.left.values(), key=lambda tried: tried[1])[1]
        for name, (placement, alike) in list(search.left.items()):
            if placement is None or alike < min(level, _CERTAIN) or alike <= bound(name):
                continue
            found[name] = placement
            search.settle(name, placement)
        if not search.fresh and not search.try_signatures():
            break
        search.try_orders(search.taken())
    for name in search.left:
        if pairs[name][0].shape == pairs[name][1].shape:
            found[name] = identity(pairs[name][0].shape)
    orders = search.known
    for name in set(found) & set(search.pairs):
        if orders and pairs[name][0].numel() <= _SMALL:
            found[name] = _agreed(*pairs[name], found[name], orders)
    return found


def _agreed(
    reference: Tensor, suspect: Tensor, found: Placement, orders: Sequence[Tensor]
) -> Placement:
    """A small weight in an order that others showed, where that leaves less.

    Rows of few weights are easily mistaken for each other once some of them are zero.
    """
    rows = [o for o in orders if len(o) == reference.shape[0] and int(o.max()) < len(suspect)]
    tried = [found, *(Placement(order, found.columns) for order in rows)]
    return min(tried, key=lambda placement: _left(reference, gathered(suspect, placement)))


def _left(reference: Tensor, ordered: Tensor) -> float:
    """What of the rows' energy others do not explain, where the suspect is not zero."""
    kept = torch.where(ordered != 0, reference, 0.0)
    return float((1 - cosines_of(kept, ordered, 0).square()).mean())


Tried = tuple[Placement | None, float]


class _Search:
    """Weights that have no place yet, the best that was tried for each, and orders to try."""

    def __init__(self, pairs: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        self.pairs = pairs
        self.left: dict[str, Tried] = dict.fromkeys(pairs, (None, 0.0))
        self.fresh: list[Tensor] = []
        self.known: list[Tensor] = []
        self._signed = False

    def settle(self, name: str, placement: Placement) -> None:
        """Take a weight's place as found; its orders may be those of others."""
        del self.left[name]
        for order in (placement.rows, placement.columns):
            same = torch.arange(len(order))
            if not any(torch.equal(order, other) for other in (same, *self.known)):
                self.known.append(order)
                self.fresh.append(order)

    def taken(self) -> list[Tensor | None]:
        """The orders that nothing was tried with so far."""
        fresh: list[Tensor | None] = [*self.fresh]
        self.fresh = []
        return fresh

    def try_orders(self, orders: Sequence[Tensor | None]) -> None:
        """Try orders on the rows and on the columns of everything that is left."""
        for name in self.left:
            for dim in (0, 1):
                self._keep(name, _best(*self.pairs[name], orders, dim))

    def try_signatures(self) -> bool:
        """Once, at last: start from rows of like magnitudes; whether that was new."""
        if self._signed:
            return False
        self._signed = True
        for name in self.left:
            one, two = self.pairs[name]
            side = unsigned(signature_order(one, two))
            if _promising(one, _promise(one, two, side[0], 0), 0):
                self._keep(name, improved(one, two, (side, None)))
        return True

    def _keep(self, name: str, tried: Tried) -> None:
        if tried[1] > self.left[name][1]:
            self.left[name] = tried


def _stands(reference: Tensor, suspect: Tensor) -> bool:
    """Whether every channel is most alike where it stands; silent ones say nothing."""
    for dim in (0, 1):
        over = [d for d in range(3) if d != dim]
        speaks = (suspect != 0).any(over[1]).any(over[0])
        speaks &= (reference != 0).any(over[1]).any(over[0])
        if bool((cosines_of(reference, suspect, dim).abs()[speaks] < _SAME).any()):
            return False
    return True


def _best(reference: Tensor, suspect: Tensor, orders: Sequence[Tensor | None], dim: int) -> Tried:
    """The placement that the most promising of some orders of rows (0) or columns (1) leads to."""
    starts = []
    for order in orders:
        whole = _fitted_order(order, reference.shape[dim], suspect.shape[dim])
        if whole is not None:
            starts.append((_promise(reference, suspect, whole, dim), whole))
    if not starts:
        return None, 0.0
    promise, whole = max(starts, key=lambda start: start[0])
    if not _promising(reference, promise, dim):
        return None, 0.0
    side = unsigned(whole)
    return improved(reference, suspect, (side, None) if dim == 0 else (None, side))


def _promising(reference: Tensor, promise: float, dim: int) -> bool:
    """Whether a start deserves assignments, which cost most; small weights always do."""
    if reference.numel() <= _SMALL:
        return True
    luck = _by_luck(reference, dim)
    share = _SURE if reference.shape[1 - dim] > _LARGE else _PROMISING
    return promise >= luck + share * (1 - luck)


def _by_luck(reference: Tensor, dim: int) -> float:
    """What an order promises that is wrong: the reference itself in an order drawn at random."""
    generator = torch.Generator().manual_seed(0)
    return _promise(
        reference, reference, torch.randperm(reference.shape[dim], generator=generator), dim
    )


def _best_cosines(few: Tensor, every: Tensor) -> float:
    lengths = few.norm(dim=1)[:, None] * every.norm(dim=1)
    return float(((few @ every.mT).abs() / lengths.clamp_min(1e-30)).amax(1).mean())


def _fitted_order(order: Tensor | None, count: int, theirs: int) -> Tensor | None:
    """An order for so many channels: of each, or of blocks that were flattened into columns."""
    if order is None:
        return torch.arange(count) if count == theirs else None
    size = len(order)
    if size == 0 or count % size:
        return None
    block = count // size
    if theirs % block or bool((order >= theirs // block).any()):
        return None
    if block == 1:
        return order
    spread = order[:, None] * block + torch.arange(block)
    return torch.where(order[:, None] >= 0, spread, -1).flatten()


def _promise(reference: Tensor, suspect: Tensor, order: Tensor, dim: int) -> float:
    """How well a few rows (or columns) find a partner if the other side is in an order."""
    pair = (reference, suspect)
    one, two = pair if dim == 1 else (w.transpose(0, 1) for w in pair)
    step = max(1, one.shape[0] // _SKETCH)
    few = one[::step][:_SKETCH].flatten(1)
    every = gathered(two, Placement(torch.arange(two.shape[0]), order)).flatten(1)
    return _best_cosines(few, every)
