"""One weight: what was done to it, in words, with the figures behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from modeldeed.inspecting.chance import Chance, unmatched_by_luck, with_models
from modeldeed.inspecting.changes import Changes, changes_of
from modeldeed.inspecting.fitting import PRECISION, Fit, follow
from modeldeed.inspecting.placement import Placement
from modeldeed.inspecting.results import LayerFinding, Operation, Similarity

__all__ = ["Compared", "absent", "compared", "finding"]

_MOSTLY_NEW = 0.5  # of the energy
_SPREAD = 0.05  # of factors: less is one factor for all


@dataclass(frozen=True)
class Compared:
    """A weight of the reference beside the suspect's.

    Attributes:
        name: in the reference.
        counterpart: in the suspect.
        shape: in the reference.
        reference: ``(O, I, K)``, float32.
        suspect: ``(O′, I′, K)``.
        same: whether the tensors are the same, bit by bit.
        stored: the suspect's type where it is another than the reference's; else empty.
    """

    name: str
    counterpart: str
    shape: tuple[int, ...]
    reference: Tensor
    suspect: Tensor
    same: bool
    stored: str


def absent(name: str, shape: Sequence[int], *, added: bool) -> LayerFinding:
    """A weight that only one of both has.

    Args:
        name: in the model that has it.
        shape: there.
        added: whether that is the suspect.
    """
    return LayerFinding(
        name=name,
        counterpart=name if added else "",
        shape=tuple(shape),
        word="added" if added else "missing",
    )


def compared(
    pair: Compared,
    placement: Placement | None,
    luck: Callable[[str], Chance],
    others: Sequence[float] = (),
) -> tuple[Fit, Chance] | None:
    """Fit a weight and say what chance would do.

    Args:
        pair: the weight.
        placement: where channels seem to stand; None where numbers of channels differ and nothing
            was found.
        luck: of a weight, what chance does where channels are matched.
        others: cosines of independent models, found alike.

    Returns:
        None where nothing can be compared.
    """
    if placement is None:
        return None
    fit = follow(pair.reference, pair.suspect, placement)
    if fit.placement.moved:
        chance = luck(pair.name)
    else:
        sides = pair.reference.shape
        parameters = {"none": 0, "rows": sides[0], "rows and columns": sides[0] + sides[1]}
        chance = unmatched_by_luck(pair.reference, parameters[fit.scales])
    return fit, with_models(chance, others)


def finding(pair: Compared, fitted: tuple[Fit, Chance] | None) -> LayerFinding:
    """Put into words what was found of a weight."""
    zeros, before = (float((w == 0).float().mean()) for w in (pair.suspect, pair.reference))
    if pair.same:
        return LayerFinding(
            name=pair.name, counterpart=pair.counterpart, shape=pair.shape, word="identical",
            change=0.0, zeros=zeros, zeros_before=before, bits_per_weight=0.0,
        )  # fmt: skip
    if fitted is None:
        return LayerFinding(
            name=pair.name, counterpart=pair.counterpart, shape=pair.shape, word="unrelated",
            zeros=zeros, zeros_before=before, missing_rows=pair.shape[0],
            added_rows=pair.suspect.shape[0], bits_per_weight=float(PRECISION),
        )  # fmt: skip
    fit, chance = fitted
    related = fit.cosine > chance.bound
    changes = changes_of(pair.reference, pair.suspect, fit, related=related)
    operations = _operations(pair, fit, changes, related=related)
    if related and not operations:
        operations = [_hardly(pair, fit, changes)]
    cosine = max(-1.0, min(1.0, fit.cosine))
    return LayerFinding(
        name=pair.name,
        counterpart=pair.counterpart,
        shape=pair.shape,
        word="changed" if related else "unrelated",
        operations=tuple(operations),
        change=changes.change,
        kept=changes.kept,
        similarity=Similarity(
            cosine=cosine,
            expected=chance.expected,
            spread=chance.spread,
            score=chance.score(cosine),
            rank=chance.rank(cosine),
        ),
        zeros=zeros,
        zeros_before=before,
        moved=(fit.placement.moved_rows + fit.placement.moved_columns) if related else 0,
        missing_rows=int((fit.placement.rows < 0).sum()) if related else 0,
        added_rows=_added(pair, fit, 0) if related else 0,
        rank=changes.rank if related else None,
        grid=changes.grid,
        bits_per_weight=(changes.bits / pair.reference.numel() if related else float(PRECISION)),
    )


def _hardly(pair: Compared, fit: Fit, changes: Changes) -> Operation:
    """What else it can be that made the tensors differ."""
    if changes.change == 0 and fit.scales == "none":
        return Operation(kind="cast", detail=f"stored as {pair.stored or 'other bits'}")
    if fit.scales == "none":
        return Operation(kind="fine-tuned", detail=f"relative change {changes.change:.2g}")
    by = float((fit.factor[fit.factor != 0].abs().log().abs()).max())
    return Operation(kind="rescaled", detail=f"by {by:.1g} of their lengths at most")


def _added(pair: Compared, fit: Fit, dim: int) -> int:
    places = (fit.placement.rows, fit.placement.columns)[dim]
    return max(0, pair.suspect.shape[dim] - int((places >= 0).sum()))


def _operations(pair: Compared, fit: Fit, changes: Changes, *, related: bool) -> list[Operation]:
    found = [*_of_channels(pair, fit), *_of_values(fit, changes)] if related else []
    if changes.pruned and related:
        which = "the smallest" if changes.smallest else "any"
        found.append(Operation(kind="pruned", detail=f"{changes.pruned:.0%} of it, {which}"))
    if changes.silenced and related:
        found.append(Operation(kind="channels silenced", detail=f"{changes.silenced} rows"))
    if changes.grid is not None:
        floats = changes.grid.startswith(("fp", "bf"))
        stored = f", stored as {pair.stored}" if pair.stored else ""
        found.append(
            Operation(kind="cast" if floats else "quantized", detail=changes.grid + stored)
        )
    return found


def _of_channels(pair: Compared, fit: Fit) -> list[Operation]:
    found = []
    gone = [int((places < 0).sum()) for places in (fit.placement.rows, fit.placement.columns)]
    if any(gone):
        detail = f"{gone[0]} of {pair.shape[0]} rows, {gone[1]} of {pair.shape[1]} columns"
        found.append(Operation(kind="channels removed", detail=detail))
    more = _added(pair, fit, 0), _added(pair, fit, 1)
    if any(more):
        detail = f"{more[0]} rows, {more[1]} columns"
        found.append(Operation(kind="channels added", detail=detail))
    rows, columns = fit.placement.moved_rows, fit.placement.moved_columns
    if rows or columns:
        detail = f"{rows} of {pair.reference.shape[0]} rows, {columns} of "
        detail += f"{pair.reference.shape[1]} columns"
        found.append(Operation(kind="permuted", detail=detail))
    factors = fit.factor[fit.factor != 0]
    if fit.flipped:
        share = float((factors < 0).float().mean())
        found.append(Operation(kind="sign-flipped", detail=f"{share:.0%} of the weights"))
    logs = factors.abs().log()
    if len(logs) and float((logs - logs.median()).abs().max()) > _SPREAD:
        least, most = float(factors.abs().min()), float(factors.abs().max())
        found.append(
            Operation(kind="rescaled", detail=f"{fit.scales}, by {least:.2g} … {most:.2g}")
        )
    elif len(logs) and fit.scales != "none" and abs(float(logs.median())) > _SPREAD:
        found.append(Operation(kind="rescaled", detail=f"all by {float(logs.median().exp()):.3g}"))
    return found


def _of_values(fit: Fit, changes: Changes) -> list[Operation]:
    if changes.kind is None:
        return []
    detail = f"relative change {changes.change:.2g}"
    if changes.kind in ("low-rank change", "components removed"):
        return [Operation(kind=changes.kind, detail=f"rank {changes.rank}, {detail}")]
    if 1 - min(1.0, abs(fit.cosine)) ** 2 > _MOSTLY_NEW:
        return [Operation(kind="re-trained", detail=detail)]
    return [Operation(kind=changes.kind, detail=detail)]
