"""Put a suspect into the coordinates of a reference: the aligned reading's first half.

Permuting, scaling, sign-flipping or padding channels leaves a model's function as it is and every
stored bit unreadable. But it leaves what the channels *say*, too: both models are probed with the
same inputs, channels that say the same are matched layer by layer, and the suspect's weights are
written in the reference's order, scale and sign. No graph is analyzed.

The reference's own bits must not pull at that. What a bound layer's rows say is computed with its
passports taken out; what it reads comes from layers before it, whose passports have nothing to do
with its own. So the rows that are read at a layer are chosen without any use of its bits.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modeldeed.alignment.maps import (
    ChannelMap,
    Columns,
    Heard,
    rows_assigned,
)
from modeldeed.alignment.pairing import fitted
from modeldeed.alignment.probes import probe_inputs
from modeldeed.alignment.recording import Operation, record
from modeldeed.alignment.rewriting import dense, in_order, sparse, with_inputs
from modeldeed.alignment.without_passports import passport_directions, without_passports
from modeldeed.anchor import Target
from modeldeed.passport.evidence.coloured import Factors

__all__ = ["Aligned", "AlignedLayer", "align"]

Fit = tuple[float, tuple[Tensor, "AlignedLayer"]]


@dataclass(frozen=True)
class AlignedLayer:
    """How a bound weight was found in the suspect.

    Attributes:
        weight: its name in the reference.
        source: the suspect's weight, or those that it was multiplied from; empty if none was found.
        channels: of the reference.
        found: of them, those that have a counterpart.
        similarity: mean cosine of the channels that were matched, in [0, 1].
    """

    weight: str
    source: str
    channels: int
    found: int
    similarity: float


@dataclass(frozen=True)
class Aligned:
    """A suspect in the coordinates of a reference.

    Attributes:
        weights: the bound weights under the reference's names and in its shapes, and the
            reference's scales; what `modeldeed.suspects.open_weights` takes.
        layers: how each was found.
        probe_seconds: for running both models.
        match_seconds: for all the rest.
    """

    weights: Mapping[str, Tensor]
    layers: tuple[AlignedLayer, ...]
    probe_seconds: float
    match_seconds: float


@dataclass(frozen=True)
class _Bound:
    """A bound weight of the reference without its passports.

    Attributes:
        cleaned: as it is stored.
        axis: its dimension along which rows lie.
        directions: of its rows' passports, ``(2, C, D)``; None where its columns carry them.
    """

    cleaned: Tensor
    axis: int
    directions: Tensor | None

    @property
    def rows(self) -> Tensor:
        """Rows first."""
        return self.cleaned.movedim(self.axis, 0)


def _bound(
    weight: Tensor,
    key: bytes,
    entries: Sequence[tuple[int, Target]],
    rows: str,
    factors: Factors | None,
) -> _Bound:
    cleaned = without_passports(weight, key, entries, rows, factors).cpu()
    for ordinal, target in entries:
        if target.side == "rows":
            factor = (factors or {}).get(ordinal)
            directions = passport_directions(key, ordinal, target, rows, factor)
            return _Bound(cleaned, target.axis, directions)
    return _Bound(cleaned, 1 - entries[0][1].axis if cleaned.dim() == 2 else 0, None)


def align(
    suspect: nn.Module,
    reference: nn.Module,
    targets: Sequence[Target],
    *,
    seed: bytes,
    like: Tensor,
    key: bytes,
    rows: str = "keyed",
    factors: Factors | None = None,
) -> Aligned:
    """Align a suspect to a reference.

    Args:
        suspect: any model of the same inputs; left as it is.
        reference: the marked model that the claim registered; left as it is.
        targets: the claim's canonical list.
        seed: of the probes, from `modeldeed.alignment.probe_seed`.
        like: a batch of inputs: shape, type and, for tokens, range of the probes.
        key: the model key: its passports are taken out of the reference.
        rows: form of the passports.
        factors: of a coloured reading.

    Returns:
        The suspect's bound weights as the reference would hold them; zero where there is nothing.

    Note:
        Deterministic. Holds 512 positions of every weighted operation of both models, and for
        one layer at a time channels times channels numbers.
    """
    start = time.perf_counter()
    probes = probe_inputs(seed, like)
    stored = dict(reference.named_parameters())
    bindings: dict[str, list[tuple[int, Target]]] = {}
    for ordinal, target in enumerate(targets):
        bindings.setdefault(target.weight, []).append((ordinal, target))
    bound = {
        name: _bound(stored[name].detach(), key, entries, rows, factors)
        for name, entries in bindings.items()
    }
    cleaned = {name: each.cleaned for name, each in bound.items()}
    wanted = [o for o in record(reference, probes, cleaned) if o.name in bindings]
    had = record(suspect, probes)
    probed = time.perf_counter()
    weights: dict[str, Tensor] = {}
    layers: dict[str, AlignedLayer] = {}

    def fit(number: int, other: Operation | None) -> Fit:
        operation = wanted[number]
        weight, layer = _layer(operation, other, bound[operation.name])
        return layer.similarity, (weight, layer)

    for operation, (weight, layer) in zip(wanted, fitted(wanted, had, fit), strict=True):
        weights[operation.name] = weight.mT if operation.turned else weight
        layers[operation.name] = layer
    for target in targets:
        if target.weight not in layers:
            weights[target.weight] = torch.zeros(target.shape)
            layers[target.weight] = AlignedLayer(target.weight, "", target.channels, 0, 0.0)
        weights[target.weight] = weights[target.weight].reshape(target.shape)
        if target.affine:
            weights[target.affine] = stored[target.affine].detach().clone()
    return Aligned(
        weights=weights,
        layers=tuple(layers[name] for name in bindings),
        probe_seconds=probed - start,
        match_seconds=time.perf_counter() - probed,
    )


def _layer(
    operation: Operation, other: Operation | None, bound: _Bound
) -> tuple[Tensor, AlignedLayer]:
    """One bound weight as it is used, ``(out, in, …)``."""
    like, groups = operation.weight, operation.groups
    if other is None or other.weight.shape[2:] != like.shape[2:]:
        return torch.zeros(like.shape), AlignedLayer(operation.name, "", like.shape[0], 0, 0.0)
    cleaned = dense(bound.rows.reshape(like.shape), groups)
    directions = None
    if bound.directions is not None:
        directions = torch.stack([dense(d.reshape(like.shape), groups) for d in bound.directions])
    theirs = dense(other.weight.float(), other.groups)
    heard = Heard(operation.inputs, other.inputs)
    outputs, weight = _outputs(cleaned, directions, theirs, heard.folded())
    if not heard.certain:
        columns = Columns(cleaned, in_order(theirs, len(cleaned), outputs))
        outputs, weight = _outputs(cleaned, directions, theirs, heard.folded(columns))
    found = outputs.place >= 0
    similarity = float(outputs.cosine[found].mean()) if bool(found.any()) else 0.0
    layer = AlignedLayer(operation.name, other.called, like.shape[0], int(found.sum()), similarity)
    return sparse(in_order(weight, len(cleaned), outputs), groups), layer


def _outputs(
    cleaned: Tensor, directions: Tensor | None, theirs: Tensor, inputs: ChannelMap
) -> tuple[ChannelMap, Tensor]:
    weight = with_inputs(theirs, cleaned.shape[1], inputs)
    flat = None if directions is None else directions.flatten(2)
    return rows_assigned(cleaned.flatten(1), weight.flatten(1), flat), weight
