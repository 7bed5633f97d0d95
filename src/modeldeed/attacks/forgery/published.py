"""The published rule, as small as it can be: what a claim is, and when it is accepted.

A claimant brings passports, a head and statistics of his own making; the judge runs the private
branch on test data and reads the signature. High accuracy and matching bits prove ownership. All
of it is free, and none of it is fixed beforehand: that is what the forgeries live on.

A passport of the published form is an input of the layer, and F(p) = AvgPool(W * p) looks at
nothing of it but its mean patch p̄ ∈ R^D, one for all channels: F(p)ᵢ = ⟨wᵢ, p̄⟩. So p̄ is what a
claim holds here. As everywhere in this package ‖wᵢ‖ is divided out and sign(γ₀) is divided off,
which lets the heads of `Passport.issue(rows="shared", head="learned")` serve unchanged; no bit
depends on the former.

Source:
    J. Zhang et al., "Passport-aware Normalization for Deep Model Protection", NeurIPS 2020;
    before it L. Fan, K. W. Ng, C. S. Chan, NeurIPS 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from modeldeed.attacks._layers import copy_of
from modeldeed.errors import OptionError
from modeldeed.passport import Passport
from modeldeed.training import accuracy

__all__ = [
    "ACCURACY_TOLERANCE",
    "LEAST_MATCH_RATE",
    "Layer",
    "PublishedClaim",
    "PublishedHeads",
    "PublishedResult",
    "TwoLayers",
    "affine",
    "examine",
    "heads_of",
    "layers_of",
    "private_branch",
]

ACCURACY_TOLERANCE = 0.05
"""The private branch may be so much worse than the public one; papers name no number."""

LEAST_MATCH_RATE = 0.9
"""Share of bits that have to match; papers report 90 … 100 % for genuine owners after attacks."""

_SLOPE = 0.01
_TINY = 1e-12

Affine = tuple[Tensor, Tensor]
PublishedHeads = Callable[[Sequence[Tensor]], Sequence[Affine]]
"""All layers' readings, each ``(2, C)`` → all layers' γ₁ and β₁, each ``(C,)``."""


@dataclass(frozen=True)
class Layer:
    """One marked layer of a model, as far as the published rule looks at it.

    Attributes:
        norm: its name.
        rows: the rows of the bound weight at length 1, times sign(γ₀): ``(C, D)``, float32.
        signs: sign(γ₀), ``(C,)``.
        scale: γ₀, ``(C,)``.
        bias: β₀, ``(C,)``.
    """

    norm: str
    rows: Tensor
    signs: Tensor
    scale: Tensor
    bias: Tensor

    @property
    def channels(self) -> int:
        """C."""
        return self.rows.shape[0]

    @property
    def fan(self) -> int:
        """D."""
        return self.rows.shape[1]


@dataclass(frozen=True)
class PublishedClaim:
    """What a claimant brings under the published rule.

    Attributes:
        passports: of each layer the mean patches p̄_γ and p̄_β, ``(2, D)``.
        bits: of each layer the signature that he says is his, ±1, ``(C,)``.
        heads: readings → scales and biases.
        statistics: mean and variance of each norm in the private branch; a norm that is not
            named keeps those of the model.
    """

    passports: tuple[Tensor, ...]
    bits: tuple[Tensor, ...]
    heads: PublishedHeads
    statistics: Mapping[str, tuple[Tensor, Tensor]] | None = None


@dataclass(frozen=True)
class PublishedResult:
    """What the published rule finds.

    Attributes:
        public_accuracy: of the model as it is.
        private_accuracy: under the claimed passports, head and statistics.
        match_rate: share of the claimed bits that the claimed passports give.
        accepts: whether both are high enough.
    """

    public_accuracy: float
    private_accuracy: float
    match_rate: float

    @property
    def accepts(self) -> bool:
        """Whether accuracy and match rate are high enough."""
        near = self.private_accuracy >= self.public_accuracy - ACCURACY_TOLERANCE
        return near and self.match_rate >= LEAST_MATCH_RATE


class TwoLayers(nn.Module):
    """The published head of one layer: C → H → C with a leaky ReLU, for scale and bias alike.

    Args:
        inner: ``(H, C)``.
        outer: ``(C, H)``.

    Shape:
        Input: readings ``(2, C)``, taken at unit mean square. Output: γ₁ and β₁, each ``(C,)``.
    """

    def __init__(self, inner: Tensor, outer: Tensor) -> None:
        super().__init__()
        self.inner = nn.Parameter(inner.detach().clone())
        self.outer = nn.Parameter(outer.detach().clone())

    @classmethod
    def drawn(cls, channels: int, generator: torch.Generator) -> TwoLayers:
        """One that nobody trained yet."""
        hidden = max(2, channels // 4)
        inner = torch.randn(hidden, channels, generator=generator) / channels**0.5
        outer = torch.randn(channels, hidden, generator=generator) / hidden**0.5
        return cls(inner, outer)

    def forward(self, readings: Tensor) -> Affine:
        """Return (γ₁, β₁)."""
        hidden = nn.functional.leaky_relu(at_unit_length(readings) @ self.inner.T, _SLOPE)
        gamma, beta = hidden @ self.outer.T
        return gamma, beta


class _Separate(nn.Module):
    """A head of its own for every layer."""

    def __init__(self, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, readings: Sequence[Tensor]) -> list[Affine]:
        """All layers' (γ₁, β₁)."""
        return [head(r) for head, r in zip(self.heads, readings, strict=True)]


def heads_of(heads: Sequence[nn.Module]) -> nn.Module:
    """All layers' heads as one module."""
    return _Separate(heads)


def at_unit_length(readings: Tensor) -> Tensor:
    """Readings scaled to unit mean square."""
    return readings * (readings.square().mean(-1, keepdim=True) + _TINY).rsqrt()


def layers_of(model: nn.Module, example: Tensor) -> list[Layer]:
    """The layers that carry passports: all that the planner finds.

    Args:
        model: not changed.
        example: a small batch of its input.

    Returns:
        In canonical order, detached.

    Raises:
        OptionError: a norm has no scale and bias, or is bound to columns: not a published form.
    """
    layers = []
    for target in Passport.plan(model, example=example).targets:
        norm = model.get_submodule(target.norm)
        scale, bias = getattr(norm, "weight", None), getattr(norm, "bias", None)
        if scale is None or bias is None or target.side != "rows":
            raise OptionError(
                f"{target.norm}: the published form has passports for norms with scale and bias "
                "behind a convolution or linear layer"
            )
        weight = model.get_parameter(target.weight).detach().float()
        rows = weight.movedim(target.axis, 0).reshape(target.channels, -1)
        rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(_TINY)
        signs = torch.where(scale.detach() < 0, -1.0, 1.0)
        layers.append(
            Layer(
                target.norm, rows * signs[:, None], signs, scale.detach().clone(),
                bias.detach().clone(),
            )
        )  # fmt: skip
    return layers


def affine(
    layers: Sequence[Layer], passports: Sequence[Tensor], heads: PublishedHeads
) -> dict[str, Affine]:
    """The private scales and biases of a claim, by norm; differentiable in passports and heads."""
    made = heads([p @ layer.rows.T for layer, p in zip(layers, passports, strict=True)])
    return {
        layer.norm: (layer.signs * gamma, beta)
        for layer, (gamma, beta) in zip(layers, made, strict=True)
    }


def private_branch(
    model: nn.Module,
    scales: Mapping[str, Affine],
    statistics: Mapping[str, tuple[Tensor, Tensor]] | None = None,
) -> Callable[[Tensor], Tensor]:
    """The model with other scales, biases and statistics in its norms.

    Args:
        model: in evaluation mode; not changed.
        scales: by norm.
        statistics: by norm; those of the model elsewhere.

    Returns:
        Inputs → outputs.
    """
    replaced: dict[str, Tensor] = {}
    for norm, (gamma, beta) in scales.items():
        replaced |= {f"{norm}.weight": gamma, f"{norm}.bias": beta}
    for norm, (mean, variance) in (statistics or {}).items():
        replaced |= {f"{norm}.running_mean": mean, f"{norm}.running_var": variance}

    def run(inputs: Tensor) -> Tensor:
        outputs: Tensor = functional_call(model, replaced, (inputs,))
        return outputs

    return run


def examine(model: nn.Module, claim: PublishedClaim, x: Tensor, y: Tensor) -> PublishedResult:
    """Judge a claim by the published rule.

    Args:
        model: the suspect; not changed.
        claim: what the claimant brings.
        x: test inputs, on the model's device.
        y: their classes.

    Returns:
        Accuracies, match rate, and whether it is accepted.

    Raises:
        OptionError: the claim has not as many layers as the model.
    """
    suspect = copy_of(model)
    layers = layers_of(suspect, x[:4])
    if not len(layers) == len(claim.passports) == len(claim.bits):
        raise OptionError(f"the model has {len(layers)} layers, the claim {len(claim.passports)}")
    with torch.no_grad():
        scales = affine(layers, claim.passports, claim.heads)
        private = accuracy(private_branch(suspect, scales, claim.statistics), x, y)
        matches = sum(
            int((bits * (layer.rows @ passport[0]) > 0).sum())
            for layer, passport, bits in zip(layers, claim.passports, claim.bits, strict=True)
        )
        public = accuracy(suspect, x, y)
    total = sum(layer.channels for layer in layers)
    return PublishedResult(public, private, matches / total)
