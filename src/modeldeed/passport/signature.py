"""Passports and signature bits of a layer, and how a bit is read from a weight.

For a bound weight with rows wᵢ ∈ R^D (one per channel) and keyed passports Pᵢ ∈ {±1}^D the
reading is rᵢ = ⟨wᵢ, Pᵢ⟩ / ‖wᵢ‖: mean 0 and variance 1 on any weight unrelated to the key. The
bit of channel i reads as the sign of cᵢ rᵢ, where cᵢ is the sign of the public scale γ₀,ᵢ:
flipping scale and row together changes no function and no bit.

Reference:
    J. Zhang et al., "Passport-aware Normalization for Deep Model Protection", NeurIPS 2020. There
    one passport vector serves all rows of a layer, F(p) = AvgPool(W * p) = ⟨wᵢ, p̄⟩; that plants a
    rank-one spike which anyone can read and remove, so here every channel has its own row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from modeldeed.anchor import Target
from modeldeed.streams import KeyStream

__all__ = ["LayerSecrets", "claimed_bits", "hinge", "layer_secrets", "passport_rows", "project"]

_TINY = 1e-30


@dataclass
class LayerSecrets:
    """What the key says about one layer.

    Attributes:
        gamma: P_γ in the layout of the bound weight, int8 ±1.
        beta: P_β likewise.
        bits: b ∈ {−1, +1}, shape ``(C,)``, int8; 0 for channels left out.
    """

    gamma: Tensor
    beta: Tensor
    bits: Tensor


def passport_rows(
    key: bytes, ordinal: int, target: Target, role: Literal["gamma", "beta"], rows: str
) -> Tensor:
    """The passport P_γ or P_β of one layer.

    Args:
        key: the model key.
        ordinal: the layer's place in the canonical list.
        target: its entry there.
        role: which of the two.
        rows: ``"keyed"``: a row for each channel; ``"shared"``: one for all, as published.

    Returns:
        int8 ±1 of the bound weight's shape.
    """
    shape = [target.shape[target.axis], *_without(target.shape, target.axis)]
    stream = KeyStream(key, "passport", ordinal, role)
    if rows == "shared":
        passport = stream.signs(1, target.fan).expand(target.channels, -1)
    else:
        passport = stream.signs(target.channels, target.fan)
    return passport.reshape(shape).movedim(0, target.axis)


def claimed_bits(key: bytes, ordinal: int, target: Target) -> Tensor:
    """The signature bits of one layer, from their own label; 0 for channels left out.

    Returns:
        int8, shape ``(C,)``.
    """
    bits = KeyStream(key, "bits", ordinal).signs(target.channels)
    bits[list(target.left_out)] = 0
    return bits


def layer_secrets(key: bytes, ordinal: int, target: Target, rows: str = "keyed") -> LayerSecrets:
    """Derive everything secret about one layer."""
    return LayerSecrets(
        gamma=passport_rows(key, ordinal, target, "gamma", rows),
        beta=passport_rows(key, ordinal, target, "beta", rows),
        bits=claimed_bits(key, ordinal, target),
    )


def project(weight: Tensor, passport: Tensor, axis: int) -> Tensor:
    """Read every channel: rᵢ = ⟨wᵢ, Pᵢ⟩ / ‖wᵢ‖.

    Args:
        weight: the bound weight W, float32 or float64.
        passport: ±1 of the same shape, any numeric dtype.
        axis: the dimension along which channels lie.

    Returns:
        Shape ``(C,)``, the weight's dtype; 0 for an all-zero row. Differentiable in the weight.

    Example:
        >>> project(torch.tensor([[3.0, 4.0]]), torch.tensor([[1, -1]]), 0)
        tensor([-0.2000])
    """
    others = [d for d in range(weight.dim()) if d != axis]
    square = weight.square().sum(others)
    # A zero row reads 0 and gets no gradient; dividing by a clamped length would explode there.
    alive = square > _TINY
    inverse = torch.where(alive, square, 1.0).rsqrt() * alive
    return (weight * passport).sum(others) * inverse


def hinge(readings: list[Tensor], signed_bits: list[Tensor], margin: float) -> Tensor:
    """The signature loss: the mean over all bits of max(0, m − bᵢ cᵢ rᵢ).

    Args:
        readings: r_γ of each layer, shape ``(C,)``.
        signed_bits: bᵢ cᵢ of each layer, shape ``(C,)``; 0 leaves a channel out.
        margin: m, in standard deviations of an unrelated weight.

    Returns:
        A scalar ≥ 0.
    """
    signs = torch.cat(signed_bits)
    short = (margin - signs * torch.cat(readings)).clamp_min(0)
    held = signs != 0
    return (short * held).sum() / held.sum().clamp_min(1)


def _without(shape: tuple[int, ...], axis: int) -> list[int]:
    return [size for d, size in enumerate(shape) if d != axis]
