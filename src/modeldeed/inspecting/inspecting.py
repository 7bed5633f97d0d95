"""Inspect a suspect: was the file altered, and what was done to each of its layers?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from torch import Tensor, nn

from modeldeed._version import __version__
from modeldeed.deed import Deed
from modeldeed.errors import OptionError
from modeldeed.inspecting.chance import Chance, matched_by_luck
from modeldeed.inspecting.explaining import explain
from modeldeed.inspecting.fitting import plain_bits
from modeldeed.inspecting.layers import Compared, absent, compared, finding
from modeldeed.inspecting.naming import named_alike, weight_names, weight_of
from modeldeed.inspecting.placement import Placement
from modeldeed.inspecting.results import Inspection, LayerFinding
from modeldeed.inspecting.searching import place_all
from modeldeed.inspecting.tampering import require_deeds_model, tampering_of
from modeldeed.inspecting.together import together
from modeldeed.suspects import Weights, open_weights

__all__ = ["inspect_suspect"]

Model = str | Path | Mapping[str, Tensor] | nn.Module
"""Weights in a file or folder, or in memory."""


def inspect_suspect(
    suspect: Model,
    reference: Model | None = None,
    *,
    deed: Deed | str | Path | None = None,
    nulls: Sequence[Model] = (),
) -> Inspection:
    """Say what was done to a suspect, layer by layer, beside a registered reference.

    This is forensics, for people: it explains how two files differ. It is no evidence of ownership
    and no verdict uses it; anybody can make a file that looks like any of this.

    Args:
        suspect: a safetensors file, a checkpoint's index or folder, a state dict or a module.
        reference: the registered model, likewise; None compares digests with the deed only.
        deed: or its folder: the reference has to be the model that it names.
        nulls: independent models of the reference's architecture, likewise; similarity by chance is
            measured on them instead of computed.

    Returns:
        What was found.

    Raises:
        OptionError: neither a reference nor a deed was given.
        EvidenceError: the deed was altered, or the reference is not its model.
        SuspectError: a file cannot be read, or changed meanwhile.

    Note:
        Deterministic. No model is run. Weights of more than 8,192 rows or columns are compared as
        they stand; no order is looked for.

    Example:
        >>> import torch
        >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
        <...>
        >>> weight = torch.randn(16, 64)
        >>> found = inspect_suspect({"w": weight[torch.randperm(16)]}, {"w": weight})
        >>> found.layer("w").kinds
        ('permuted',)
    """
    if reference is None and deed is None:
        raise OptionError("give the registered model (reference), its deed, or both")
    registered = Deed.load(deed) if isinstance(deed, str | Path) else deed
    if registered is not None and isinstance(reference, str | Path):
        require_deeds_model(registered, reference)
    weights, notes = open_weights(suspect), []
    path = suspect if isinstance(suspect, str | Path) else None
    if reference is None:
        tampering = tampering_of(path, weights, registered)
        notes.append("without the registered model only digests were compared")
        return _inspection(suspect, "", tampering, notes=notes)
    known = open_weights(reference)
    if registered is not None and not isinstance(reference, str | Path):
        notes.append("the reference is not held against the deed: it is no file")
    restored, names, prefix = named_alike(weights, known)
    if prefix:
        notes.append(f"{prefix} removed from all names of the suspect")
    renamed = sum(name != other for name, other in names.items())
    if renamed:
        notes.append(f"{renamed} layers go by other names; they were paired by their values")
    added = set(weight_names(restored)) - set(names.values())
    if added:
        notes.append(
            f"{len(added)} layers were added; layers that were inserted or split are not undone "
            "here, an aligned reading undoes them (modeldeed verify --model)"
        )
    tampering = tampering_of(path, weights, registered, (restored, known, names))
    pairs = _pairs(restored, known, names)
    layers, plain = _layers(pairs, [_other(null, known) for null in nulls])
    layers = [*together(layers), *_absent(restored, known, names)]
    weights.require_unchanged()
    order = {name: place for place, name in enumerate(known.names())}
    layers.sort(key=lambda layer: order.get(layer.name, len(order)))
    return _inspection(
        suspect, known.label, tampering, layers=layers, plain=plain, nulls=len(nulls), notes=notes
    )


def _inspection(
    suspect: Model,
    reference: str,
    tampering: object,
    *,
    layers: Sequence[LayerFinding] = (),
    plain: Mapping[str, float] | None = None,
    nulls: int = 0,
    notes: Sequence[str] = (),
) -> Inspection:
    label = str(suspect) if isinstance(suspect, str | Path) else open_weights(suspect).label
    return Inspection.model_validate({
        "suspect": label,
        "reference": reference,
        "tampering": tampering,
        "layers": tuple(layers),
        "explanations": explain(layers, dict(plain or {})),
        "null_models": nulls,
        "notes": tuple(notes),
        "version": __version__,
    })  # fmt: skip


def _pairs(suspect: Weights, reference: Weights, names: Mapping[str, str]) -> dict[str, Compared]:
    found = {}
    for name in weight_names(reference):
        if name not in names:
            continue
        one, two = reference.tensor(name), suspect.tensor(names[name])
        if one.dim() != two.dim() or one.shape[2:] != two.shape[2:] or not two.numel():
            continue
        kind = "" if one.dtype == two.dtype else str(two.dtype).removeprefix("torch.")
        same = not kind and one.shape == two.shape and bool((one == two).all())
        found[name] = Compared(
            name, names[name], tuple(one.shape), weight_of(one), weight_of(two), same, kind
        )
    return found


def _absent(suspect: Weights, reference: Weights, names: Mapping[str, str]) -> list[LayerFinding]:
    found = [
        absent(name, reference.shape(name), added=False)
        for name in weight_names(reference)
        if name not in names
    ]
    known = set(names.values())
    return found + [
        absent(name, suspect.shape(name), added=True)
        for name in weight_names(suspect)
        if name not in known
    ]


def _other(null: Model, reference: Weights) -> tuple[Weights, dict[str, str]]:
    restored, names, _ = named_alike(open_weights(null), reference)
    return restored, names


def _layers(
    pairs: Mapping[str, Compared], nulls: Sequence[tuple[Weights, dict[str, str]]]
) -> tuple[list[LayerFinding], dict[str, float]]:
    luck = _luck(pairs)
    placements = _placements(pairs, luck)
    observed: dict[str, list[float]] = {name: [] for name in pairs}
    for weights, names in nulls:
        others = {
            name: _exchanged(pair, weights.tensor(names[name]))
            for name, pair in pairs.items()
            if name in names
        }
        for name, placement in _placements(others, luck).items():
            fitted = compared(others[name], placement, luck)
            if fitted is not None:
                observed[name].append(max(-1.0, min(1.0, fitted[0].cosine)))
    layers, plain = [], {}
    for name, pair in pairs.items():
        place = placements.get(name)
        fitted = None if pair.same else compared(pair, place, luck, observed[name])
        layers.append(finding(pair, fitted))
        if pair.reference.shape == pair.suspect.shape and not pair.same:
            plain[name] = plain_bits(pair.reference, pair.suspect)
        elif pair.same:
            plain[name] = 0.0
    return layers, plain


def _exchanged(pair: Compared, tensor: Tensor) -> Compared:
    return Compared(
        pair.name, pair.counterpart, pair.shape, pair.reference, weight_of(tensor), False, ""
    )


def _luck(pairs: Mapping[str, Compared]) -> Callable[[str], Chance]:
    @cache
    def luck(name: str) -> Chance:
        return matched_by_luck(pairs[name].reference)

    return luck


def _placements(
    pairs: Mapping[str, Compared], luck: Callable[[str], Chance]
) -> dict[str, Placement]:
    wanted = {name: (pair.reference, pair.suspect) for name, pair in pairs.items() if not pair.same}
    return place_all(wanted, lambda name: luck(name).worth_trying)
