"""A reference without its passports: what is left when the key's directions are taken out.

A reference that is compared while its passports are still in it draws whatever is compared with it
towards the claimed bits. So before any comparison each row loses what lies along its own passport
rows P_γ and P_β (for a coloured reading: along XᵀP, the directions in which those are read).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from modeldeed.anchor import Target
from modeldeed.passport.evidence.coloured import Factors, seen_target
from modeldeed.passport.evidence.signature import passport_rows

__all__ = ["channel_rows", "passport_directions", "without_passports", "without_rows"]


def channel_rows(weight: Tensor, target: Target) -> Tensor:
    """A bound weight as one row per channel.

    Args:
        weight: of the target's shape, any real dtype.
        target: says along which axis the channels lie.

    Returns:
        Shape ``(C, D)``, float32, with NaN and infinities as zeros.
    """
    rows = weight.movedim(target.axis, 0).reshape(target.channels, target.fan)
    return torch.nan_to_num(rows.float(), posinf=0.0, neginf=0.0)


def passport_directions(
    key: bytes, ordinal: int, target: Target, rows: str, factor: Tensor | None = None
) -> Tensor:
    """An orthonormal pair per channel that spans its passport rows.

    Args:
        key: the model key.
        ordinal: the layer's place in the canonical list.
        target: its entry there.
        rows: form of the passports.
        factor: X of a coloured reading; None where the weight itself is read.

    Returns:
        Shape ``(2, C, D)``, float32; a zero row where both passports point the same way.
    """
    seen = seen_target(target, factor)
    pair = [channel_rows(passport_rows(key, ordinal, seen, role, rows), seen)
            for role in ("gamma", "beta")]  # fmt: skip
    if factor is not None:
        groups = factor.shape[0]
        pair = [
            (p.reshape(groups, -1, factor.shape[1]) @ factor.float()).reshape(-1, target.fan)
            for p in pair
        ]
    first = pair[0] / pair[0].norm(dim=1, keepdim=True).clamp_min(1e-30)
    second = pair[1] - (pair[1] * first).sum(1, keepdim=True) * first
    length = second.norm(dim=1, keepdim=True)
    # What is left of two equal passports is rounding: it would take a random direction out.
    apart = length > 1e-4 * pair[1].norm(dim=1, keepdim=True)
    second = torch.where(apart, second / torch.where(apart, length, 1.0), 0.0)
    return torch.stack([first, second])


def without_rows(rows: Tensor, directions: Tensor) -> Tensor:
    """Rows without what lies along their own directions.

    Args:
        rows: shape ``(C, D)``.
        directions: from `passport_directions`.

    Returns:
        Shape ``(C, D)``.
    """
    for direction in directions:
        rows = rows - (rows * direction).sum(1, keepdim=True) * direction
    return rows


def without_passports(
    weight: Tensor,
    key: bytes,
    bindings: Sequence[tuple[int, Target]],
    rows: str,
    factors: Factors | None = None,
) -> Tensor:
    """A bound weight of a reference without the passports of all layers that are bound to it.

    Args:
        weight: as stored.
        key: the model key.
        bindings: ordinal and entry of every target of this weight; most have one, a tied weight
            can have its rows bound by one norm and its columns by another.
        rows: form of the passports.
        factors: of a coloured reading.

    Returns:
        float32, of the weight's shape.
    """
    cleaned = weight.float()
    for ordinal, target in bindings:
        factor = (factors or {}).get(ordinal)
        directions = passport_directions(key, ordinal, target, rows, factor)
        left = without_rows(channel_rows(cleaned, target), directions)
        others = [size for d, size in enumerate(target.shape) if d != target.axis]
        cleaned = left.reshape(target.channels, *others).movedim(0, target.axis)
    return cleaned
