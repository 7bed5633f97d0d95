"""The order check: do a reference's channels stand in the order that its anchor committed to?

An aligned reading puts a suspect's channels in the reference's order. Whoever may choose that
order after the bits exist can make any model carry them: he permutes it. So the order is fixed
first, by the anchor, which commits to the unmarked weights; and a judge who is shown those weights
assigns their rows to the reference's, layer by layer, by the cosine of rows. A row that is not
assigned to itself, or whose scale changed its sign, counts as a mismatch, and a reference with too
many of them is no evidence.

The reference's passports are taken out first, so that the bits say nothing about the order.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from modeldeed.alignment.order import LayerOrder, OrderCheck
from modeldeed.alignment.without_passports import channel_rows, without_passports
from modeldeed.anchor import Anchor, Target
from modeldeed.digests import tensor_root
from modeldeed.errors import EvidenceError
from modeldeed.passport.evidence.coloured import Factors
from modeldeed.suspects.weights import Weights, require_tensors

__all__ = ["check_order", "matched_to_themselves", "require_exhibit"]

# A tie must not speak for the claimant: rows that are all alike fit in every order.
_DOUBT = 1e-5
_ASSIGNED = 8_192  # channels; the assignment holds C² numbers
_CHUNK = 2**24  # cosines at a time, 64 MiB


def require_exhibit(anchor: Anchor, unmarked: Weights) -> None:
    """Refuse weights that are not those an anchor commits to.

    Args:
        anchor: the anchor.
        unmarked: the exhibit: the model as it was before marking.

    Raises:
        EvidenceError: the anchor commits to no weights, or to others.
        SuspectError: a tensor cannot be read.
    """
    if anchor.weights_root is None:
        raise EvidenceError("this anchor commits to no weights; its channels have no order")
    root = tensor_root((name, unmarked.tensor(name)) for name in unmarked.names()).hex()
    if root != anchor.weights_root:
        raise EvidenceError(
            f"{unmarked.label} are not the weights that the anchor commits to "
            f"({root[:16]}… against {anchor.weights_root[:16]}…); show the state dict exactly as "
            "it was when the passport was anchored, all tensors and types"
        )


def check_order(
    anchor: Anchor,
    key: bytes,
    unmarked: Weights,
    reference: Weights,
    factors: Factors | None = None,
) -> OrderCheck:
    """Assign the anchor's rows to the reference's, layer by layer.

    Args:
        anchor: with a passport; its list says which rows.
        key: the model key, whose passports are taken out of the reference.
        unmarked: the exhibit: the model as it was before marking.
        reference: the marked model that the claim registered.
        factors: of a coloured reading, checked.

    Returns:
        What was found; `OrderCheck.valid` decides.

    Raises:
        EvidenceError: the exhibit is not the one that the anchor commits to.
        SuspectError: the reference lacks bound tensors or has them in another shape.

    Note:
        One layer is held at a time, and up to 8,192 channels C² numbers of 4 and of 8 bytes.

    Example:
        >>> from torch import nn
        >>> from modeldeed import Owner, Passport
        >>> from modeldeed.suspects import open_weights
        >>> host = nn.Sequential(nn.Linear(64, 32), nn.LayerNorm(32), nn.Linear(32, 4))
        >>> owner, before = Owner.generate(), {k: v.clone() for k, v in host.state_dict().items()}
        >>> passport = Passport.issue(host, owner, example=torch.rand(8, 64))
        >>> report = passport.embed([torch.rand(32, 64)], steps=2)
        >>> manifest = passport.manifest
        >>> check_order(manifest.anchor, manifest.model_key(owner),
        ...             open_weights(before), open_weights(host)).valid
        True
    """
    rows = anchor.passport_rule.rows
    require_exhibit(anchor, unmarked)
    wanted = [(target.weight, target.shape) for target in anchor.targets]
    require_tensors(unmarked, wanted)
    require_tensors(reference, wanted)
    bindings: dict[str, list[tuple[int, Target]]] = {}
    for ordinal, target in enumerate(anchor.targets):
        bindings.setdefault(target.weight, []).append((ordinal, target))
    layers: dict[int, LayerOrder] = {}
    for weight, bound in bindings.items():
        cleaned = without_passports(reference.tensor(weight), key, bound, rows, factors)
        start = unmarked.tensor(weight)
        for ordinal, target in bound:
            layers[ordinal] = _layer(target, channel_rows(start, target),
                                     channel_rows(cleaned, target),
                                     _same_signs(target, unmarked, reference))  # fmt: skip
    found = [layers[ordinal] for ordinal in range(len(anchor.targets))]
    return OrderCheck(
        bits=sum(layer.bits for layer in found),
        matched=sum(layer.matched for layer in found),
        layers=tuple(found),
    )


def _same_signs(target: Target, unmarked: Weights, reference: Weights) -> NDArray[np.bool_]:
    """Of which channels the scale has the sign that it began with.

    A bit is read times that sign, in an aligned reading the reference's. Where a norm is followed
    by a linear layer, a scale and the layer's column can be turned without a change of function.
    Where scales were folded into the weight, its rows show their signs.
    """
    if target.affine is None or target.affine not in set(reference.names()):
        return np.ones(target.channels, bool)
    for weights in (unmarked, reference):
        require_tensors(weights, [(target.affine, (target.channels,))])
    one, two = (w.tensor(target.affine).float().sign().cpu() for w in (unmarked, reference))
    return np.asarray((one * two > 0).numpy(), bool)


def _layer(
    target: Target, start: Tensor, cleaned: Tensor, same_signs: NDArray[np.bool_]
) -> LayerOrder:
    matched, own, other = matched_to_themselves(start, cleaned)
    matched = matched & same_signs
    holds = np.ones(target.channels, bool)
    holds[list(target.left_out)] = False
    unmatched = np.flatnonzero(holds & ~matched)
    some = bool(holds.any())
    return LayerOrder(
        norm=target.norm,
        weight=target.weight,
        axis=target.axis,
        channels=target.channels,
        bits=int(holds.sum()),
        matched=int((holds & matched).sum()),
        unmatched=tuple(int(channel) for channel in unmatched),
        median_similarity=float(np.median(own[holds])) if some else 0.0,
        median_other=float(np.median(other[holds])) if some else 0.0,
    )


def matched_to_themselves(
    start: Tensor, rows: Tensor, doubt: float = _DOUBT
) -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]:
    """Assign rows to rows by cosine and say which of them found themselves.

    The assignment maximizes the sum of cosines (`scipy.optimize.linear_sum_assignment`). A row
    that fits no better where it stands than elsewhere is not matched, nor one whose cosine with
    its start is not positive. Above 8,192 channels a row is matched if its own cosine is the
    largest of its row and of its column, for which nothing has to be held.

    Args:
        start: the anchor's rows, ``(C, D)``, float32.
        rows: the reference's rows, likewise.
        doubt: by how much a row's own cosine must be the larger one.

    Returns:
        Each of shape ``(C,)``: whether a row was matched to itself; its cosine with itself; its
        largest cosine with another row's start.
    """
    count = len(rows)
    one, two = _unit(start), _unit(rows)
    own = (one * two).sum(1).numpy()
    assigned = count <= _ASSIGNED
    cosines = np.empty((count, count) if assigned else (0, 0), np.float32)
    of_row, of_column = np.full(count, -np.inf, np.float32), np.full(count, -np.inf, np.float32)
    step = max(1, _CHUNK // max(1, count))
    for first in range(0, count, step):
        block = (two[first : first + step] @ one.T).numpy()
        places = np.arange(len(block))
        block[places, first + places] = -2.0
        of_row[first : first + step] = block.max(1)
        np.maximum(of_column, block.max(0), out=of_column)
        block[places, first + places] = own[first : first + step] - doubt
        if assigned:
            cosines[first : first + step] = block
    sure = (own - doubt > of_row) & (own - doubt > of_column)
    if not assigned or sure.all():
        return sure & (own > doubt), own, of_row
    _, columns = linear_sum_assignment(cosines, maximize=True)
    return (columns == np.arange(count)) & (own > doubt), own, of_row


def _unit(rows: Tensor) -> Tensor:
    largest = rows.abs().amax(1, keepdim=True)
    rows = rows / torch.where(largest > 0, largest, 1.0)  # squares must not leave the range
    length = rows.norm(dim=1, keepdim=True)
    return rows / torch.where(length > 0, length, 1.0)
