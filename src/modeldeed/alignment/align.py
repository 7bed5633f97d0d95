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

from modeldeed.alignment.depthwise import is_depthwise, with_silent_kernels
from modeldeed.alignment.maps import (
    ChannelMap,
    Columns,
    Heard,
    rows_assigned,
)
from modeldeed.alignment.pairing import fitted
from modeldeed.alignment.probed import Probed, probed
from modeldeed.alignment.probes import probe_inputs
from modeldeed.alignment.recording import Operation, record
from modeldeed.alignment.rewriting import dense, in_order, require_bound, sparse, with_inputs
from modeldeed.alignment.turning import Turner
from modeldeed.alignment.without_passports import passport_directions, without_passports
from modeldeed.anchor import ProbeInput, Target
from modeldeed.passport.evidence.coloured import Factors

__all__ = ["Aligned", "AlignedLayer", "align"]

_FITS = 0.9  # a mean cosine of rows at which no rotation is looked for

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
        placed: dimensions whose channels have their places from the exhibit alone.
    """

    weight: str
    source: str
    channels: int
    found: int
    similarity: float
    placed: tuple[int, ...] = ()


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
    suspect: nn.Module | Probed,
    reference: nn.Module,
    targets: Sequence[Target],
    *,
    seed: bytes,
    like: Tensor | ProbeInput,
    key: bytes,
    rows: str = "keyed",
    factors: Factors | None = None,
    exhibit: nn.Module | None = None,
) -> Aligned:
    """Align a suspect to a reference.

    Args:
        suspect: any model of the same inputs; left as it is. An ONNX file is probed by
            `modeldeed.alignment.onnx_recording.ProbedOnnx`.
        reference: the marked model that the claim registered; left as it is.
        targets: the claim's canonical list.
        seed: of the probes, from `modeldeed.alignment.probe_seed`.
        like: as the anchor fixes it, or a batch of inputs: shape, type and, for tokens, range
            of the probes.
        key: the model key: its passports are taken out of the reference.
        rows: form of the passports.
        factors: of a coloured reading.
        exhibit: the model that the anchor commits to, with its weights in it, as it was before
            marking; left as it is. What was turned is turned back into its basis, never into the
            reference's, see `modeldeed.alignment.turning`. None leaves it turned.

    Returns:
        The suspect's bound weights as the reference would hold them; zero where there is nothing.

    Raises:
        SuspectError: a model cannot be run on the probes; or the reference's model code has not
            the weights of the claim.

    Note:
        Deterministic. Holds 512 positions of every weighted operation of both models, and for
        one layer at a time channels times channels numbers.

    Example:
        >>> from modeldeed import Owner, Passport
        >>> x, owner = torch.rand(4, 20), Owner.generate()
        >>> host = nn.Sequential(nn.Linear(20, 24), nn.BatchNorm1d(24), nn.ReLU()).eval()
        >>> manifest = Passport.issue(host, owner, example=x).manifest
        >>> aligned = align(host, host, manifest.anchor.targets, seed=bytes(32), like=x,
        ...                 key=manifest.model_key(owner))
        >>> aligned.layers[0].found
        24
    """
    start = time.perf_counter()
    probes = probe_inputs(seed, like)
    stored = dict(reference.named_parameters(remove_duplicate=False))
    bound = _bound_weights(stored, targets, key, rows, factors)
    cleaned = {name: each.cleaned for name, each in bound.items()}
    done = record(reference, probes, cleaned)
    places = [place for place, operation in enumerate(done) if operation.name in bound]
    wanted, had = [done[place] for place in places], probed(suspect, probes)
    ran = time.perf_counter()

    def fit(number: int, other: Operation | None) -> Fit:
        weight, layer = _layer(wanted[number], other, bound[wanted[number].name])
        return layer.similarity, (weight, layer)

    # What the reference never ran, or ran as no product, stays zero.
    weights = {target.weight: torch.zeros(target.shape) for target in targets}
    layers = {t.weight: AlignedLayer(t.weight, "", t.channels, 0, 0.0) for t in targets}
    found = fitted(wanted, had, fit, places if len(had) == len(done) else ())
    if exhibit is not None:
        turner = Turner(exhibit, suspect, stored, targets, seed, like)
        found = _turned_back(wanted, found, turner, had, bound)
    for operation, (weight, layer) in zip(wanted, found, strict=True):
        weights[operation.name] = operation.stored(weight).reshape(weights[operation.name].shape)
        layers[operation.name] = layer
    scales = {t.affine: stored[t.affine].detach().clone() for t in targets if t.affine in stored}
    return Aligned(
        weights={**weights, **scales},
        layers=tuple(layers.values()),
        probe_seconds=ran - start,
        match_seconds=time.perf_counter() - ran,
    )


def _bound_weights(
    stored: Mapping[str, Tensor],
    targets: Sequence[Target],
    key: bytes,
    rows: str,
    factors: Factors | None,
) -> dict[str, _Bound]:
    require_bound(stored, targets, "the reference")
    bindings: dict[str, list[tuple[int, Target]]] = {}
    for ordinal, target in enumerate(targets):
        bindings.setdefault(target.weight, []).append((ordinal, target))
    return {
        name: _bound(stored[name].detach(), key, entries, rows, factors)
        for name, entries in bindings.items()
    }


def _layer(
    operation: Operation, other: Operation | None, bound: _Bound
) -> tuple[Tensor, AlignedLayer]:
    """One bound weight as it is used, ``(out, in, …)``."""
    like, groups = operation.weight, operation.groups
    if other is None or other.weight.shape[2:] != like.shape[2:]:
        return torch.zeros(like.shape), AlignedLayer(operation.name, "", like.shape[0], 0, 0.0)
    rows = operation.rows_of(bound.cleaned) if operation.transposed else bound.rows
    cleaned = dense(rows.reshape(like.shape), groups)
    directions = None
    if bound.directions is not None:
        directions = torch.stack([dense(d.reshape(like.shape), groups) for d in bound.directions])
    theirs = dense(other.weight.float(), other.groups)
    ours = _Rows(cleaned, _lengths(cleaned) / _lengths(dense(like.float(), groups)), directions)
    heard = Heard(operation.inputs, other.inputs)
    outputs, weight = _outputs(ours, theirs, heard.folded())
    if not heard.certain:
        columns = Columns(cleaned, in_order(theirs, len(cleaned), outputs))
        inputs = heard.folded(columns)
        if is_depthwise(operation) and is_depthwise(other):
            kernels = rows.reshape(like.shape)
            inputs = with_silent_kernels(
                inputs, operation, other, kernels, ours.kept, bound.directions
            )
        outputs, weight = _outputs(ours, theirs, inputs)
    found = outputs.place >= 0
    similarity = float(outputs.cosine[found].mean()) if bool(found.any()) else 0.0
    layer = AlignedLayer(operation.name, other.called, like.shape[0], int(found.sum()), similarity)
    placed = outputs if directions is not None else outputs.shrinking
    return sparse(in_order(weight, len(cleaned), placed), groups), layer


def _turned_back(
    wanted: Sequence[Operation],
    found: Sequence[tuple[Tensor, AlignedLayer]],
    turner: Turner,
    had: Sequence[Operation],
    bound: Mapping[str, _Bound],
) -> list[tuple[Tensor, AlignedLayer]]:
    """What was found, and where no order of channels fitted well, what a rotation makes of it."""
    poor = [o.name for o, (_, layer) in zip(wanted, found, strict=True)
            if layer.similarity < _FITS]  # fmt: skip
    turned = turner.turned(poor, had) if poor else {}
    better = []
    for operation, first in zip(wanted, found, strict=True):
        like, columns = operation.weight, bound[operation.name].directions is None
        rows, made = bound[operation.name].rows.reshape(like.shape), [first]
        for one in turned.get(operation.name, ()):
            for weight, cosine, placed in one.candidates(rows, like, columns=columns):
                count, similarity = int((cosine > 0).sum()), float(cosine.mean())
                called = operation.name, one.other.called
                layer = AlignedLayer(*called, len(like), count, similarity, placed)
                made.append((weight.reshape(like.shape), layer))
        better.append(max(made, key=lambda one: one[1].similarity))
    return better


@dataclass(frozen=True)
class _Rows:
    """The reference's rows as `rows_assigned` takes them, not yet flattened."""

    cleaned: Tensor
    kept: Tensor
    directions: Tensor | None


def _lengths(weight: Tensor) -> Tensor:
    return weight.flatten(1).square().sum(1).sqrt().clamp_min(1e-30)


def _outputs(ours: _Rows, theirs: Tensor, inputs: ChannelMap) -> tuple[ChannelMap, Tensor]:
    weight = with_inputs(theirs, ours.cleaned.shape[1], inputs)
    flat = None if ours.directions is None else ours.directions.flatten(2)
    return rows_assigned(ours.cleaned.flatten(1), weight.flatten(1), ours.kept, flat), weight
