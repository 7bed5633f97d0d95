"""L1, the direct reading: signature bits from stored weights, without model code.

Only the bound tensors and the norms' scales are read. Rules of counting: a bit that cannot be
read (an all-zero row, a zero scale, NaN) is a mismatch and n stays the claim's n, so deleting
channels never helps a claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from modeldeed.anchor import Target
from modeldeed.errors import SuspectError
from modeldeed.passport.signature import claimed_bits, passport_rows, project
from modeldeed.results import LayerReading, SignatureEvidence, Verdict
from modeldeed.statistics import LN2, LN10, Budget, log_binomial_tail, required_matches
from modeldeed.suspects.weights import Weights, require_tensors

__all__ = [
    "MIN_BITS",
    "BoundLayer",
    "judge_signature",
    "load_layers",
    "matches_of",
    "read_signature",
]

MIN_BITS = 128
UNPAID_LOG2_P = -20.0


@dataclass(frozen=True)
class BoundLayer:
    """One layer of a suspect as far as a signature needs it.

    Attributes:
        target: its entry in the canonical list.
        weight: the bound weight, float64, every row divided by its largest magnitude: readings do
            not depend on a row's length, and its square cannot leave the range.
        scale_sign: sign of γ₀, shape ``(C,)``, float64; all ones without an affine.
    """

    target: Target
    weight: Tensor
    scale_sign: Tensor


def load_layers(weights: Weights, targets: Sequence[Target]) -> list[BoundLayer]:
    """Read from a suspect what a claim's signature needs.

    Args:
        weights: the suspect.
        targets: the claim's canonical list.

    Returns:
        One entry per target.

    Raises:
        SuspectError: tensors are missing, misshapen or not floating point.
    """
    require_tensors(
        weights,
        [(t.weight, t.shape) for t in targets]
        + [(t.affine, (t.channels,)) for t in targets if t.affine],
    )
    layers = []
    for target in targets:
        weight = _scaled(_floating(weights, target.weight), target.axis)
        sign = torch.ones(target.channels, dtype=torch.float64)
        if target.affine:
            sign = _floating(weights, target.affine).sign()
        layers.append(BoundLayer(target, weight, sign))
    return layers


def _scaled(weight: Tensor, axis: int) -> Tensor:
    largest = weight.abs().amax([d for d in range(weight.dim()) if d != axis], keepdim=True)
    return weight / torch.where(largest > 0, largest, 1.0)


def _floating(weights: Weights, name: str) -> Tensor:
    tensor = weights.tensor(name)
    if not tensor.is_floating_point():
        raise SuspectError(
            f"{weights.label}: {name} is {tensor.dtype}, not floating point; restore its real "
            "values (integer times scale) before reading"
        )
    try:
        return tensor.double()
    except RuntimeError as error:
        raise SuspectError(f"{weights.label}: {name}, {tensor.dtype}: {error}") from error


def _margins(layer: BoundLayer, ordinal: int, key: bytes, rows: str) -> Tensor:
    """b·c·r of the layer's bits in standard deviations; NaN where a bit cannot be read."""
    bits = claimed_bits(key, ordinal, layer.target).double()
    passport = passport_rows(key, ordinal, layer.target, "gamma", rows)
    margins = bits * layer.scale_sign * project(layer.weight, passport, layer.target.axis)
    margins = torch.where(torch.isfinite(margins) & (margins != 0), margins, torch.nan)
    return margins[bits != 0]


def read_signature(
    layers: Sequence[BoundLayer], key: bytes, budget: Budget, *, rows: str = "keyed"
) -> SignatureEvidence:
    """Read a claim's bits from a suspect's layers.

    Args:
        layers: the suspect, from `load_layers`.
        key: the model key of the claim.
        budget: what the p-value has to pay.
        rows: the passports' form.

    Returns:
        Matches, exact p-value before and after payment, and every layer's reading.
    """
    readings = []
    margins: list[float] = []
    for ordinal, layer in enumerate(layers):
        margin = _margins(layer, ordinal, key, rows)
        readable = margin[~margin.isnan()].tolist()
        margins += readable
        readings.append(
            LayerReading(
                norm=layer.target.norm,
                weight=layer.target.weight,
                axis=layer.target.axis,
                bits=layer.target.bits,
                matches=sum(m > 0 for m in readable),
                undecided=layer.target.bits - len(readable),
                median_margin=median(readable) if readable else None,
                lowest_margin=min(readable, default=None),
            )
        )
    bits, matches = sum(r.bits for r in readings), sum(r.matches for r in readings)
    log_p = log_binomial_tail(matches, bits)
    return SignatureEvidence(
        reading="weights/v1",
        bits=bits,
        matches=matches,
        log10_p=log_p / LN10,
        log2_p=log_p / LN2,
        log10_p_paid=budget.paid(log_p) / LN10,
        threshold_log2=budget.threshold_log2,
        required_matches=required_matches(bits, budget),
        median_margin=median(margins) if margins else None,
        layers=tuple(readings),
    )


def matches_of(layers: Sequence[BoundLayer], key: bytes, *, rows: str = "keyed") -> int:
    """How many bits match under a key: `read_signature` without the report, for many keys."""
    return sum(
        int((_margins(layer, ordinal, key, rows) > 0).sum()) for ordinal, layer in enumerate(layers)
    )


def judge_signature(evidence: SignatureEvidence, budget: Budget) -> tuple[Verdict, str]:
    """Decide a claim from its signature.

    Returns:
        The verdict and its reason in one sentence.
    """
    log_p = log_binomial_tail(evidence.matches, evidence.bits)
    found = f"{evidence.matches} of {evidence.bits} bits match"
    if evidence.bits < MIN_BITS:
        return Verdict.INCONCLUSIVE, f"{found}; fewer than {MIN_BITS} bits never verify alone"
    needed = f"{evidence.required_matches} are needed"
    if budget.accepts(log_p):
        return Verdict.VERIFIED, f"{found}, {needed}"
    if evidence.log2_p <= UNPAID_LOG2_P:
        return (
            Verdict.INCONCLUSIVE,
            f"{found}, more than chance explains, but {needed} to pay for keys tried beforehand",
        )
    return Verdict.NOT_VERIFIED, f"{found}, as chance would have it; {needed}"
