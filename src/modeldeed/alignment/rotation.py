"""Rotations between what two models say: where no order of channels explains it, a basis may.

Between norms that only normalize, a transformer's residual stream can be turned by any orthogonal
matrix. What a layer read as x = g · x̂ + s, with the scale and shift of the norm before it, it then
reads as x′ = d · Qᵀx̂, with whatever scales d stand there now. Q is the orthogonal Procrustes
solution, the polar factor of the products of both; d is how loud each channel is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Products", "Turn", "fitted_turn", "polar", "pooled_matrix", "turn_by"]

_STEPS = 8
_CHUNK = 8_192
_SETTLED = 1e-3


@dataclass(frozen=True)
class Products:
    """Sums over positions of what is said in two models.

    Attributes:
        own: x̂ᵀx̂, ``(C, C)``.
        cross: x̂ᵀx′, ``(C, C′)``.
        count: positions.
    """

    own: Tensor
    cross: Tensor
    count: int

    @classmethod
    def of(cls, normalized: Tensor, suspect: Tensor) -> Products:
        """Of what two models say at the same positions, in pieces.

        Args:
            normalized: x̂, ``(n, C)``.
            suspect: x′, ``(n, C′)``.
        """
        own = torch.zeros(normalized.shape[1], normalized.shape[1])
        cross = torch.zeros(normalized.shape[1], suspect.shape[1])
        for first in range(0, len(normalized), _CHUNK):
            part = normalized[first : first + _CHUNK]
            own.addmm_(part.mT, part)
            cross.addmm_(part.mT, suspect[first : first + _CHUNK])
        return cls(own, cross, len(normalized))

    def __add__(self, other: Products) -> Products:
        """Of the positions of both."""
        return Products(self.own + other.own, self.cross + other.cross, self.count + other.count)


@dataclass(frozen=True)
class Turn:
    """How a suspect's channels follow from normalized ones: x′ ≈ d · Qᵀx̂.

    Attributes:
        matrix: Q, ``(C, C′)``, orthonormal rows or columns.
        scales: d, ``(C′,)``.
    """

    matrix: Tensor
    scales: Tensor

    def rest(self, normalized: Tensor, suspect: Tensor) -> float:
        """What share of x′² it leaves; to be asked of positions that it was not fitted to.

        Args:
            normalized: x̂, ``(n, C)``.
            suspect: x′, ``(n, C′)``.
        """
        left = suspect - (normalized @ self.matrix) * self.scales
        return float(left.square().sum() / suspect.square().sum().clamp_min(1e-30))

    def to_reference(self, weight: Tensor, gains: Tensor) -> Tensor:
        """A weight that reads x′, as one that reads g · x̂.

        Args:
            weight: ``(out, C′)``.
            gains: g, ``(C,)``.

        Returns:
            ``(out, C)``; columns of channels without gain are zero.
        """
        silent = gains == 0
        turned = (weight * self.scales) @ self.matrix.mT
        return torch.where(silent, 0.0, turned / torch.where(silent, 1.0, gains))


def polar(matrix: Tensor) -> Tensor:
    """The closest matrix with orthonormal rows or columns."""
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    turned: Tensor = left @ right
    return turned


def fitted_turn(products: Products) -> Turn:
    """Fit a rotation and scales, in turns: each is least squares when the other stands.

    Args:
        products: of at least twice as many positions as channels; fewer fit anything.

    Example:
        >>> x, q = torch.randn(64, 8), torch.linalg.qr(torch.randn(8, 8)).Q
        >>> turn = fitted_turn(Products.of(x, 3 * x @ q))
        >>> bool(torch.allclose(turn.matrix, q, atol=1e-2))
        True
    """
    scales = torch.ones(products.cross.shape[1])
    matrix = polar(products.cross)
    for _ in range(_STEPS):
        before, scales = scales, _scales(products, matrix)
        matrix = polar(products.cross / _nonzero(scales))
        moved = scales / scales.abs().mean() - before / before.abs().mean()
        if bool(moved.abs().max() < _SETTLED):
            break
    return turn_by(products, matrix)


def turn_by(products: Products, matrix: Tensor) -> Turn:
    """A turn by a given matrix, its scales fitted."""
    return Turn(matrix, _scales(products, matrix))


def pooled_matrix(layers: Iterable[tuple[Products, Turn]]) -> Tensor:
    """The one rotation of several layers that read the same stream.

    Args:
        layers: of each its products and its own turn, whose scales are used; at least one.

    Returns:
        Q, ``(C, C′)``.
    """
    parts = [products.cross / _nonzero(turn.scales) for products, turn in layers]
    return polar(torch.stack([part / part.norm().clamp_min(1e-30) for part in parts]).sum(0))


def _scales(products: Products, matrix: Tensor) -> Tensor:
    """How loud each of the suspect's channels is, by least squares."""
    said = (matrix * (products.own @ matrix)).sum(0)
    return (matrix * products.cross).sum(0) / said.clamp_min(1e-30)


def _nonzero(scales: Tensor) -> Tensor:
    floor = 1e-3 * scales.abs().median().clamp_min(1e-30)
    return torch.where(scales.abs() < floor, floor, scales)
