"""The coloured reading: bits are read where the inputs of a layer vary.

A layer's *factor* X holds n input vectors that the bound weight met when the passport was issued:
patches for a convolution, features for a linear layer, centered. A coloured bit is read from
uᵢ = X wᵢ in place of wᵢ:

    rᵢ = ⟨X wᵢ, Qᵢ⟩ / ‖X wᵢ‖,  Qᵢ ∈ {±1}ⁿ keyed

which is mean 0 and variance 1 on any weight unrelated to the key, like the reading of a weight.
It is the sign of a keyed combination of the channel's outputs on n inputs. With Σ the inputs'
covariance, XᵀX = n Σ: it is the reading ⟨S wᵢ, Pᵢ⟩ / ‖S wᵢ‖, S = Σ^½, without a square root.

The anchor commits to the factors, so they are fixed before the bits exist: that is all that the
null needs. A judge takes them from the passport's folder, checks their digest, and runs no model.
Layers without a factor (columns, transposed convolutions, layers of unknown classes) are read
from their weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from modeldeed.anchor import Target
from modeldeed.digests import tensor_root
from modeldeed.errors import EvidenceError, SuspectError
from modeldeed.suspects.weights import Weights, require_tensors

__all__ = [
    "Factors",
    "factors_root",
    "fits",
    "require_factors",
    "seen_rows",
    "seen_target",
    "seen_weights",
]

Factors = Mapping[int, Tensor]
"""Ordinal → X, int8 of shape ``(G, n, D)``: one for each of the G groups of channels."""

MAX_SAMPLES = 2**16


def factors_root(factors: Factors) -> str:
    """The digest of factors that stands in an anchor: their tensor root, hexadecimal."""
    return tensor_root({str(ordinal): factor for ordinal, factor in factors.items()}).hex()


def require_factors(factors: Factors, root: str, targets: Sequence[Target]) -> None:
    """Refuse factors that are not those an anchor commits to, or that fit no layer.

    Raises:
        EvidenceError: the digest differs, an ordinal is not in the list, or a shape or dtype does
            not fit its target.
    """
    if any(factor.dtype != torch.int8 for factor in factors.values()):
        raise EvidenceError("the passport was altered: its factors are not 8-bit integers")
    if factors_root(factors) != root:
        raise EvidenceError(
            "the passport was altered: its factors are not those that its anchor commits to"
        )
    for ordinal, factor in factors.items():
        if not (0 <= ordinal < len(targets) and fits(factor, targets[ordinal])):
            raise EvidenceError(
                f"the factor of layer {ordinal}, of shape {tuple(factor.shape)}, fits no layer of "
                "the passport's list"
            )


def seen_target(target: Target, factor: Tensor | None) -> Target:
    """The target as its passports see it: n numbers per channel in place of D.

    Args:
        target: an entry of the canonical list.
        factor: its factor; None for a layer that is read from its weight.
    """
    if factor is None:
        return target
    return target.model_copy(update={"shape": (target.channels, factor.shape[1]), "axis": 0})


def seen_rows(weight: Tensor, target: Target, factor: Tensor | None) -> Tensor:
    """The rows uᵢ = X wᵢ that a coloured bit is read from.

    Args:
        weight: the bound weight, floating point.
        target: its entry in the list.
        factor: X; None for a layer that is read from its weight.

    Returns:
        Shape ``(C, n)``; the weight itself without a factor. Differentiable in the weight.
    """
    if factor is None:
        return weight
    rows = weight.movedim(target.axis, 0).reshape(factor.shape[0], -1, target.fan)
    return (rows @ factor.to(weight).mT).reshape(target.channels, -1)


class _SeenWeights:
    """A suspect whose bound weights are what its layers make of the factors."""

    def __init__(self, weights: Weights, targets: Sequence[Target], factors: Factors) -> None:
        self.label = weights.label
        self._weights = weights
        self._seen = {targets[o].weight: (targets[o], factor) for o, factor in factors.items()}

    def names(self) -> list[str]:
        return self._weights.names()

    def shape(self, name: str) -> tuple[int, ...]:
        if name in self._seen:
            target, factor = self._seen[name]
            return target.channels, factor.shape[1]
        return self._weights.shape(name)

    def tensor(self, name: str) -> Tensor:
        tensor = self._weights.tensor(name)
        if name not in self._seen or not tensor.is_floating_point():
            return tensor  # what cannot be read is refused by whoever reads it
        target, factor = self._seen[name]
        try:
            rows = tensor.double()
        except RuntimeError as error:
            raise SuspectError(f"{self.label}: {name}, {tensor.dtype}: {error}") from error
        others = [d for d in range(rows.dim()) if d != target.axis]
        # The length of a row says nothing, and its products must not leave the range.
        largest = rows.abs().amax(others, keepdim=True)
        return seen_rows(rows / torch.where(largest > 0, largest, 1.0), target, factor)

    def digest(self) -> str:
        return self._weights.digest()

    def require_unchanged(self) -> None:
        self._weights.require_unchanged()


def seen_weights(
    weights: Weights, targets: Sequence[Target], factors: Factors | None
) -> tuple[Weights, tuple[Target, ...]]:
    """A suspect and a claim's list as a coloured reading sees them, for any reader of weights.

    Args:
        weights: the suspect.
        targets: the claim's canonical list.
        factors: of the claim, checked; none reads all from the weights.

    Returns:
        Weights whose bound tensors are uᵢ = X wᵢ, shape ``(C, n)``, float64, and the list with
        those shapes; both as they were without factors.

    Raises:
        SuspectError: tensors of the claim are missing or misshapen.
    """
    if not factors:
        return weights, tuple(targets)
    require_tensors(weights, [(target.weight, target.shape) for target in targets])
    seen = tuple(seen_target(target, factors.get(o)) for o, target in enumerate(targets))
    return _SeenWeights(weights, targets, factors), seen


def fits(factor: Tensor | None, target: Target) -> bool:
    """Tell whether a factor can be that of a target."""
    if factor is None or factor.dim() != 3:
        return False
    groups, samples, fan = factor.shape
    matching = fan == target.fan and groups > 0 and target.channels % groups == 0
    return matching and 2 <= samples <= MAX_SAMPLES and target.side == "rows"
