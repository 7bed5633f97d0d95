"""Weights of a suspect whose channels were not reordered but turned: by what an exhibit says.

A basis can be chosen as finely as one likes: a rotation so small that every channel still is most
like itself is enough to give half of all bits another sign, and changes no output. So whoever
registers a reference could turn a model that is not his until it carries his bits, and any copy of
that model, turned to his reference, would carry them too. The order of channels would show nothing.

For this reason a rotation is never taken from the reference. It is fitted to the exhibit: the model
that the anchor commits to, as it was before the passports and the bits existed. What it says knows
nothing of them, and nothing that is done to the reference moves it. An exhibit that was not trained
yet says nothing of the suspect either; then no rotation is found, and the bits stay unread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from modeldeed.alignment.maps import Heard, rows_assigned
from modeldeed.alignment.pairing import counterparts
from modeldeed.alignment.probed import Probed, probed
from modeldeed.alignment.probes import probe_inputs
from modeldeed.alignment.recording import Operation, record
from modeldeed.alignment.rewriting import in_order, with_inputs
from modeldeed.alignment.rotation import (
    Products,
    Turn,
    fitted_turn,
    polar,
    pooled_matrix,
    turn_by,
)
from modeldeed.anchor import ProbeInput, Target
from modeldeed.digests import sha256

__all__ = ["Turned", "Turner", "in_basis"]

_POSITIONS = 3  # for every channel
_RUNS = 256
_EXPLAINED = 0.5  # what a rotation may leave at most
_MIXED = 0.6  # a mean cosine of rows at which they are only reordered


@dataclass(frozen=True)
class Turned:
    """A weight of the suspect in the basis of the exhibit.

    Attributes:
        other: the operation that it is from.
        weight: ``(out′, in, …)``; of a layer whose rows were turned ``(out, in, …)``.
        exhibit: the exhibit's own, ``(out, in, …)``.
    """

    other: Operation
    weight: Tensor
    exhibit: Tensor

    def candidates(
        self, rows: Tensor, like: Tensor, *, columns: bool
    ) -> list[tuple[Tensor, Tensor, tuple[int, ...]]]:
        """What it may be in the reference: its rows in order, or if none fits turned as well.

        Args:
            rows: the reference's, its passports taken out, ``(out, in, …)``.
            like: the reference's as they are.
            columns: whether the columns are bound; rows that are have their place.

        Returns:
            Weights, ``(out, D)``; how alike their rows are to the reference's, in [0, 1]; and the
            dimensions whose channels have their places from the exhibit alone.
        """
        ours, theirs = rows.flatten(1), self.weight.flatten(1)
        if not columns:
            return [(theirs, torch.cosine_similarity(ours, theirs).abs(), (0, 1))]
        kept = ours.norm(dim=1) / like.float().flatten(1).norm(dim=1).clamp_min(1e-30)
        outputs = rows_assigned(ours, theirs, kept)
        ordered = in_order(theirs, len(ours), outputs.shrinking)
        made: list[tuple[Tensor, Tensor, tuple[int, ...]]] = [
            (ordered, torch.cosine_similarity(ours, ordered).clamp_min(0), (1,))
        ]
        # With more rows than columns a rotation of rows would fit anything; and where rows are
        # only changed, it takes to the exhibit's what the bits are in.
        if len(ours) <= ours.shape[1] and float(made[0][1].mean()) < _MIXED:
            mixed = in_basis(self.exhibit.flatten(1), theirs)
            cosine = torch.cosine_similarity(ours, mixed).clamp_min(0)
            if 1 - cosine.mean() < 0.5 * (1 - made[0][1].mean()):
                made.append((mixed, cosine, (0, 1)))
        return made


@dataclass(eq=False)
class _Pair:
    """A bound operation of the exhibit, and one of the suspect."""

    exhibit: Operation
    other: Operation
    place: int  # of that among the suspect's
    target: Target
    gains: Tensor  # of the norm before it, in the exhibit and in the reference
    own_gains: Tensor
    shifted: bool
    found: tuple[Products, Turn] | None = field(default=None)

    @property
    def reads(self) -> bool:
        """Whether its columns are bound, and so a norm is before it."""
        two = self.exhibit.weight.dim() == self.other.weight.dim() == 2
        return two and self.target.side == "columns"

    @property
    def shape(self) -> tuple[int, int]:
        """Channels that are read, in both."""
        return self.exhibit.inputs.shape[1], self.other.inputs.shape[1]

    def said(self, exhibit: Operation, other: Operation) -> tuple[Tensor, Tensor]:
        """What both read, the exhibit's normalized."""
        one, two = exhibit.inputs, other.inputs
        if self.shifted:  # the suspect's norm may have any shift
            one, two = one - one.mean(0), two - two.mean(0)
        silent = self.gains == 0
        return torch.where(silent, 0.0, one / torch.where(silent, 1.0, self.gains)), two


@dataclass(frozen=True)
class Turner:
    """Finds rotations between an exhibit and a suspect.

    Attributes:
        exhibit: the model of the anchor, before it was marked.
        suspect: that is compared with it.
        reference: the tensors of the marked model.
        targets: the claim's canonical list.
        seed: of the probes.
        like: what they are like.
    """

    exhibit: nn.Module
    suspect: nn.Module | Probed
    reference: Mapping[str, Tensor]
    targets: Sequence[Target]
    seed: bytes
    like: Tensor | ProbeInput

    def turned(self, names: Sequence[str], had: Sequence[Operation]) -> dict[str, list[Turned]]:
        """Turn bound weights into the exhibit's basis.

        Args:
            names: the weights.
            had: what the suspect did on the first probes.

        Returns:
            By name, those of which a rotation explains half of what is said.
        """
        exhibit = {o.name: o for o in record(self.exhibit, probe_inputs(self.seed, self.like))}
        pairs = [
            self._pair(exhibit[name], had, place)
            for name in names
            if name in exhibit
            for place in counterparts(exhibit[name], had)
        ]
        self._fit([pair for pair in pairs if pair.reads])
        streams = _streams(pairs)
        found: dict[str, list[Turned]] = {}
        for pair in pairs:
            weight = _read(pair, streams) if pair.reads else _written(pair, streams)
            if weight is not None:
                turned = Turned(pair.other, weight, pair.exhibit.weight.float())
                found.setdefault(pair.exhibit.name, []).append(turned)
        return found

    def _pair(self, exhibit: Operation, had: Sequence[Operation], place: int) -> _Pair:
        target = next(t for t in self.targets if t.weight == exhibit.name)
        state = dict(self.exhibit.named_parameters(remove_duplicate=False))
        width = exhibit.inputs.shape[1]
        before = target.side == "columns" and target.affine in state
        return _Pair(
            exhibit,
            had[place],
            place,
            target,
            _gains(state, target, width) if before else torch.ones(width),
            _gains(self.reference, target, width) if before else torch.ones(width),
            before and f"{target.norm}.bias" in state,
        )

    def _fit(self, reading: Sequence[_Pair]) -> None:
        """Fit to further probes: those that there were serve to see what is left."""
        if not reading:
            return
        needed = _POSITIONS * max(max(pair.shape) for pair in reading)
        sums: list[Products] = []
        for number in range(_RUNS):
            seed = sha256(b"turn", self.seed, number.to_bytes(4, "big"))
            probes = probe_inputs(seed, self.like)
            exhibit = {o.name: o for o in record(self.exhibit, probes)}
            had = probed(self.suspect, probes)
            more = [
                Products.of(*pair.said(exhibit[pair.exhibit.name], had[pair.place]))
                for pair in reading
            ]
            sums = [a + b for a, b in zip(sums, more, strict=True)] if sums else more
            if min(products.count for products in sums) >= needed:
                break
        for pair, products in zip(reading, sums, strict=True):
            pair.found = products, fitted_turn(products)


def _streams(pairs: Sequence[_Pair]) -> dict[tuple[int, int], Tensor]:
    """One rotation for all that read as many channels."""
    layers: dict[tuple[int, int], list[tuple[Products, Turn]]] = {}
    for pair in pairs:
        if pair.found is not None:
            layers.setdefault(pair.shape, []).append(pair.found)
    return {shape: pooled_matrix(found) for shape, found in layers.items()}


def _gains(state: Mapping[str, Tensor], target: Target, width: int) -> Tensor:
    """The scales of a target's norm; zero where they are none to speak of."""
    gains = state[str(target.affine)].detach().float().cpu()
    if gains.shape != (width,):
        return torch.ones(width)
    return torch.where(gains.abs() <= 1e-3 * gains.abs().median(), 0.0, gains)


def _read(pair: _Pair, streams: Mapping[tuple[int, int], Tensor]) -> Tensor | None:
    """What reads a turned stream, by its own rotation or by that of all that read it."""
    if pair.found is None:
        return None
    sums, own = pair.found
    said = pair.said(pair.exhibit, pair.other)
    turns = [own, turn_by(sums, streams[pair.shape])]
    rests = [turn.rest(*said) for turn in turns]
    best = rests.index(min(rests))
    if rests[best] > _EXPLAINED:
        return None
    return turns[best].to_reference(pair.other.weight.float(), pair.own_gains)


def _written(pair: _Pair, streams: Mapping[tuple[int, int], Tensor]) -> Tensor | None:
    """What writes to a turned stream: its rows are turned as the readers' columns."""
    rows = pair.exhibit.weight.shape[0], pair.other.weight.shape[0]
    grouped = pair.exhibit.groups > 1 or pair.other.groups > 1
    if pair.target.side == "columns" or grouped or rows not in streams:
        return None
    heard = Heard(pair.exhibit.inputs, pair.other.inputs)
    count = pair.exhibit.weight.shape[1]
    weight = with_inputs(pair.other.weight.float(), count, heard.folded())
    turned: Tensor = torch.einsum("ij,j...->i...", streams[rows], weight)
    return turned


def in_basis(exhibit: Tensor, weight: Tensor) -> Tensor:
    """A weight's rows in the basis of the exhibit's: inside of heads queries can be turned too.

    Args:
        exhibit: ``(out, in)``.
        weight: ``(out′, in)``, its columns in the exhibit's basis.

    Returns:
        ``(out, in)``.
    """
    return polar(exhibit @ weight.mT) @ weight
