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

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from modeldeed.anchor import Target
from modeldeed.passport.private.arithmetic import laid_out_like
from modeldeed.streams import KeyStream

__all__ = [
    "LayerSecrets",
    "claimed_bits",
    "hinge",
    "layer_secrets",
    "passport_rows",
    "project",
    "reachable_margin",
]


@dataclass
class LayerSecrets:
    """What the key says about one layer.

    Attributes:
        passports: P_γ and P_β stacked, shape ``(2, *weight.shape)``, int8 ±1.
        bits: b ∈ {−1, +1}, shape ``(C,)``, int8; 0 for channels left out.
    """

    passports: Tensor
    bits: Tensor

    def to(self, device: torch.device) -> LayerSecrets:
        """The same on a device."""
        return LayerSecrets(self.passports.to(device), self.bits.to(device))

    def laid_out_like(self, weight: Tensor) -> Tensor:
        """The passports in the memory layout of their weight; kept so for the next time."""
        self.passports = laid_out_like(weight, self.passports)
        return self.passports


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


def claimed_bits(
    key: bytes, ordinal: int, target: Target, codeword: Tensor | None = None
) -> Tensor:
    """The signature bits of one layer, from their own label; 0 for channels left out.

    Args:
        key: the model key.
        ordinal: the layer's place in the canonical list.
        target: its entry there.
        codeword: ±1 of shape ``(C,)``, what a message turns; None without one. The bits stay
            uniform and independent: see `modeldeed.passport.evidence.message`.

    Returns:
        int8, shape ``(C,)``.
    """
    bits = KeyStream(key, "bits", ordinal).signs(target.channels)
    bits[list(target.left_out)] = 0
    return bits if codeword is None else bits * codeword


def layer_secrets(
    key: bytes,
    ordinal: int,
    target: Target,
    rows: str = "keyed",
    codeword: Tensor | None = None,
) -> LayerSecrets:
    """Derive everything secret about one layer; see `claimed_bits` for the codeword."""
    return LayerSecrets(
        passports=torch.stack(
            [
                passport_rows(key, ordinal, target, "gamma", rows),
                passport_rows(key, ordinal, target, "beta", rows),
            ]
        ),
        bits=claimed_bits(key, ordinal, target, codeword),
    )


def project(weight: Tensor, passport: Tensor, axis: int) -> Tensor:
    """Read every channel: rᵢ = ⟨wᵢ, Pᵢ⟩ / ‖wᵢ‖.

    Args:
        weight: the bound weight W, float32 or float64.
        passport: ±1 of the same shape, any numeric dtype; or several stacked in front.
        axis: the weight's dimension along which channels lie.

    Returns:
        Shape ``(C,)``, or ``(n, C)`` for n stacked passports, in the weight's dtype; 0 for an
        all-zero row. Differentiable in the weight.

    Example:
        >>> project(torch.tensor([[3.0, 4.0]]), torch.tensor([[1, -1]]), 0)
        tensor([-0.2000])
    """
    others = [d - weight.dim() for d in range(weight.dim()) if d != axis]
    if not others:  # one weight per channel: a sum over no dimension would be one over all
        return (weight * passport).sign()
    square = weight.square().sum(others)
    # A zero row reads 0 and gets no gradient; dividing by a clamped length would explode there.
    alive = square > 0
    inverse = torch.where(alive, square, 1.0).rsqrt() * alive
    return (weight * passport).sum(others) * inverse


def reachable_margin(margin: float, fan: int) -> float:
    """The margin asked of a layer: m, but no more than three quarters of what D weights can reach.

    |r| is at most √D, and only for a row that is its passport. Asking a thin layer (D = 9 of a
    one-channel stem reaches 3) for m = 5 would pull for ever and leave the filter no freedom.
    """
    return min(margin, 0.75 * math.sqrt(fan))


def hinge(readings: Tensor, signed_bits: Tensor, margins: Tensor) -> Tensor:
    """The signature loss: the mean over all bits of max(0, m − bᵢ cᵢ rᵢ).

    Args:
        readings: r_γ of all layers, ``(ΣC,)``.
        signed_bits: bᵢ cᵢ, ``(ΣC,)``; 0 leaves a channel out.
        margins: m of each channel's layer, ``(ΣC,)``, in standard deviations of an unrelated
            weight.

    Returns:
        A scalar ≥ 0.
    """
    short = (margins - signed_bits * readings).clamp_min(0) * (signed_bits != 0)
    return short.sum() / signed_bits.count_nonzero().clamp_min(1)


def _without(shape: tuple[int, ...], axis: int) -> list[int]:
    return [size for d, size in enumerate(shape) if d != axis]
