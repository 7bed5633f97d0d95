"""Which channels of two models say the same: assignment, folding, signs and scales.

All similarities are uncentered cosines of what channels say on the same probes. Their matrix is
made in pieces; nothing is larger than channels times channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

__all__ = ["ChannelMap", "Columns", "Heard", "rows_assigned", "similarity"]

_CHUNK = 2_048
# The least cosines: of a partner, of a copy, and of the columns of a silent channel.
_PARTNER, _COPY, _SILENT = 0.3, 0.9, 0.8
_KEPT = 0.3  # a row of which less is left is no longer told by it
_LONG = 1_024  # weights of a row that is told from others without its passports


@dataclass(frozen=True)
class ChannelMap:
    """Where a suspect's channels belong in the reference.

    Attributes:
        place: the reference's channel of each of the suspect's, int64; −1 for none.
        factor: what the suspect's channel is of the reference's: x′ ≈ factor · x.
        cosine: how alike they are, in [0, 1].
    """

    place: Tensor
    factor: Tensor
    cosine: Tensor

    @property
    def shrinking(self) -> ChannelMap:
        """The same with factors that shorten what fits badly: dividing by them, rows come closest.

        Where columns are read, every row has a say in each; one that found a poor partner must not
        be the loudest.
        """
        least = self.cosine.square().clamp_min(1e-6)
        return ChannelMap(self.place, self.factor / least, self.cosine)


def _lengths(x: Tensor) -> Tensor:
    return x.square().sum(0).sqrt()


def similarity(reference: Tensor, suspect: Tensor) -> tuple[Tensor, Tensor]:
    """Absolute cosines of all pairs of channels, and the products that they come from.

    Args:
        reference: ``(n, C)``.
        suspect: ``(n, C′)``.

    Returns:
        Each ``(C, C′)``, float32; 0 for a channel that is silent.
    """
    inverse = [torch.where(s > 0, 1 / s, 0.0) for s in map(_lengths, (reference, suspect))]
    products = torch.empty(reference.shape[1], suspect.shape[1])
    for first in range(0, reference.shape[1], _CHUNK):
        part = reference[:, first : first + _CHUNK]
        torch.mm(part.mT, suspect, out=products[first : first + _CHUNK])
    cosines = products.abs() * inverse[0][:, None]
    return cosines.mul_(inverse[1]), products


def _one_to_one(cosines: Tensor) -> tuple[Tensor, Tensor]:
    """The pairs of rows and columns of largest sum."""
    best = cosines.argmax(1)
    if cosines.shape[0] <= cosines.shape[1] and len(set(best.tolist())) == len(best):
        return torch.arange(len(best)), best  # every row has its largest: no sum is larger
    rows, columns = linear_sum_assignment(cosines.numpy(), maximize=True)
    return torch.from_numpy(rows.astype(np.int64)), torch.from_numpy(columns.astype(np.int64))


class Columns:
    """The columns of two layers that read the same channels, compared over rows and kernel.

    Args:
        reference: ``(out, C, *kernel)``.
        suspect: ``(out, C′, *kernel)``, its rows in the reference's order, sign and scale.
    """

    def __init__(self, reference: Tensor, suspect: Tensor) -> None:
        one, two = (w.transpose(0, 1).flatten(1) for w in (reference, suspect))
        self.products = one @ two.mT
        self.squares = two.square().sum(1)
        lengths = [w.square().sum(1).sqrt().clamp_min(1e-30) for w in (one, two)]
        self.cosines = self.products / lengths[0][:, None] / lengths[1]


class Heard:
    """What the channels that two layers read say on the same probes.

    Args:
        reference: ``(n, C)``.
        suspect: ``(n, C′)``.
    """

    def __init__(self, reference: Tensor, suspect: Tensor) -> None:
        self.cosines, self.products = similarity(reference, suspect)
        self.squares = reference.square().sum(0)

    @property
    def certain(self) -> bool:
        """Whether they leave no doubt which channel is which."""
        best = self.cosines.topk(min(2, len(self.cosines)), dim=0).values
        if len(best) == 1:
            return bool((best > 0).all())
        return bool(((best[0] > 0.999) & (best[1] < 0.99)).all())

    def folded(self, columns: Columns | None = None) -> ChannelMap:
        """Give every channel of the suspect the one of the reference that it repeats.

        First one to one; what is left (copies, parts, cliques) goes to the most similar one, where
        parts add up and cliques cancel.

        Args:
            columns: further evidence: those that read the channels. Many channels are silent on
                most probes, or say the same.

        Returns:
            The map; channels that nothing is known of have no place.
        """
        known = self.cosines if columns is None else self.cosines + columns.cosines.abs()
        rows, chosen = _one_to_one(known)
        place = known.argmax(0)
        least = torch.full((len(place),), _COPY)
        place[chosen], least[chosen] = rows, _PARTNER
        channels = torch.arange(len(place))
        # One that repeats nothing is no copy; and if its partner hardly speaks, a factor fitted
        # to it would drown the row.
        found = _map(
            torch.where(self.cosines[place, channels] >= least, place, -1),
            self.cosines,
            self.products,
            self.squares,
        )
        if columns is None:
            return found
        return self._with_silent(found, columns)

    def _with_silent(self, found: ChannelMap, columns: Columns) -> ChannelMap:
        """Places for what is silent in both, told by its columns alone.

        The columns that belong together are parts of one, of either sign: each is taken as often
        as makes their sum as long as the reference's.
        """
        guess = torch.where(self.squares[:, None] == 0, columns.cosines.abs(), 0.0).max(0)
        silent = (guess.values > _SILENT) & (self.cosines.amax(0) == 0)
        lengths = torch.where(silent, columns.squares, 0.0)
        total = torch.zeros(len(self.squares)).index_add_(0, guess.indices, lengths)
        products = columns.products[guess.indices, torch.arange(len(silent))]
        factor = products / total[guess.indices].clamp_min(1e-30)
        return ChannelMap(
            torch.where(silent, guess.indices, found.place),
            torch.where(silent, factor, found.factor),
            found.cosine,
        )


def rows_assigned(
    reference: Tensor, suspect: Tensor, kept: Tensor, directions: Tensor | None = None
) -> ChannelMap:
    """Give every row of the reference at most one of the suspect, by the cosine of rows.

    Neither bit nor passport has a say in who is chosen: what a row's own passports say was taken
    out of the reference. Where rows are short it is taken out of the suspect's row as well, for
    every pair; where they are long, a row's own is told well enough from the others without it,
    and the cosine is corrected by what it can be at most.

    Args:
        reference: ``(C, D)``, its passports taken out.
        suspect: ``(C′, D)``, its inputs in the reference's coordinates.
        kept: what of the reference's rows' lengths is left, ``(C,)``, in [0, 1].
        directions: ``(2, C, D)``, of the passports, orthonormal; None if rows carry none.

    Returns:
        The map; surplus rows of the suspect have no place.
    """
    count, fan = reference.shape
    short = directions is not None and fan < _LONG
    products = torch.empty(count, len(suspect))
    lengths = suspect.square().sum(1).repeat(count, 1)
    # What rounding leaves of a row that lies in its passports is no direction.
    floor = 1e-6 * lengths[0].clamp_min(1e-30)
    for first in range(0, count, _CHUNK):
        part = slice(first, first + _CHUNK)
        torch.mm(reference[part], suspect.mT, out=products[part])
        for direction in directions if directions is not None and short else ():
            lengths[part] -= (direction[part] @ suspect.mT).square_()
    own = reference.square().sum(1)
    lengths = torch.where(lengths > floor, lengths, torch.inf)
    cosines = products.abs() / lengths.mul_(own.clamp_min(1e-30)[:, None]).sqrt_()
    if not short:
        cosines.div_(kept.clamp_min(_KEPT)[:, None]).clamp_max_(1)
    rows, columns = _one_to_one(cosines)
    place = torch.full((len(suspect),), -1)
    place[columns] = rows
    return _map(place, cosines, products, own)


def _map(place: Tensor, cosines: Tensor, products: Tensor, squares: Tensor) -> ChannelMap:
    channels = torch.arange(len(place))
    at = place.clamp_min(0)
    cosine = torch.where(place >= 0, cosines[at, channels], 0.0)
    own = squares[at].clamp_min(1e-30)
    factor = torch.where(cosine > 0, products[at, channels] / own, 0.0)
    return ChannelMap(torch.where(cosine > 0, place, -1), factor, cosine)
