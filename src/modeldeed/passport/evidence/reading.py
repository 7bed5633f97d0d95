"""L1, the direct reading: signature bits from stored weights, without model code.

Only the bound tensors and the norms' scales are read. Rules of counting: a bit that cannot be
read (an all-zero row, a zero scale, NaN) is a mismatch and n stays the claim's n, so deleting
channels never helps a claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modeldeed.anchor import Target
from modeldeed.passport.evidence._compiled_sums import CompiledSums, compiled_sums
from modeldeed.passport.evidence._packed_signs import PackedSigns
from modeldeed.passport.evidence.signature import claimed_bits
from modeldeed.passport.evidence.streaming import Channels, Prepared, prepare, readings
from modeldeed.results import LayerReading, SignatureEvidence, Verdict
from modeldeed.statistics import LN2, LN10, Budget, log_binomial_tail, required_matches
from modeldeed.streams import KeyStream
from modeldeed.suspects.restored import Restored, restore, summary
from modeldeed.suspects.weights import Weights

__all__ = [
    "MIN_BITS",
    "BoundLayer",
    "judge_signature",
    "load_layers",
    "masked_margins",
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
        channels: the bound weight, still where it is stored.
        scale_sign: sign of γ₀, shape ``(C,)``, float64; all ones without an affine, and where it
            was folded into the weight.
        undone: what had to be undone to read it.
    """

    target: Target
    channels: Channels
    scale_sign: Tensor
    undone: tuple[str, ...] = ()

    @cached_property
    def weight(self) -> Tensor:
        """The bound weight as a copy in float64, for a slow reading with `project`.

        Every row times a power of two, its largest magnitude in [½, 1): readings do not depend on
        a row's length, and its square cannot leave the range.
        """
        target = self.target
        others = [size for d, size in enumerate(target.shape) if d != target.axis]
        rows = self.channels.exact(torch.arange(target.channels))
        return rows.reshape(target.channels, *others).movedim(0, target.axis)

    @cached_property
    def turning(self) -> NDArray[np.float64]:
        """What a reading is multiplied with: the scale's sign; 0 for a channel without a bit."""
        turning: NDArray[np.float64] = self.scale_sign.numpy().copy()
        turning[list(self.target.left_out)] = 0
        return turning

    @cached_property
    def prepared(self) -> Prepared:
        """What many keys' readings of this layer have in common."""
        return prepare(self.channels)


def load_layers(weights: Weights, targets: Sequence[Target]) -> list[BoundLayer]:
    """Read from a suspect what a claim's signature needs.

    Args:
        weights: the suspect.
        targets: the claim's canonical list.

    Returns:
        One entry per target.

    Raises:
        SuspectError: tensors are missing, misshapen, or in a form that cannot be undone.
    """
    suspect = weights if isinstance(weights, Restored) else restore(weights, targets)
    layers = []
    for target, bound in zip(targets, suspect.bound(targets), strict=True):
        sign = torch.ones(target.channels, dtype=torch.float64)
        if bound.scale is not None:
            sign = bound.scale.double().sign()
        channels = Channels(bound.weight.tensor, target.axis, bound.weight.scale)
        layers.append(BoundLayer(target, channels, sign, bound.undone))
    return layers


def _margins(
    layer: BoundLayer,
    ordinal: int,
    key: bytes,
    rows: str,
    codeword: Tensor | None = None,
    compiled: CompiledSums | None = None,
) -> Tensor:
    """b·c·r of the layer's bits in standard deviations; NaN where a bit cannot be read."""
    bits = claimed_bits(key, ordinal, layer.target, codeword).double()
    passport = PackedSigns(key, ordinal, layer.target.fan, rows)
    # NumPy on one thread: two that hand the interpreter's lock to each other gained nothing when
    # it was measured, and lost much on a busy machine. Compiled sums release the lock.
    threads = torch.get_num_threads() if compiled else 1
    read = readings(layer.channels, passport, threads=threads, compiled=compiled)
    margins = bits * layer.scale_sign * torch.from_numpy(read)
    margins = torch.where(torch.isfinite(margins) & (margins != 0), margins, torch.nan)
    return margins[bits != 0]


def _compiled_for(layers: Sequence[BoundLayer]) -> CompiledSums | None:
    return compiled_sums(sum(layer.channels.data.numel() for layer in layers))


def masked_margins(layers: Sequence[BoundLayer], key: bytes, *, rows: str = "keyed") -> Tensor:
    """The readings behind all bits, times the pseudo-random part of each: what a message is in.

    Returns:
        Shape ``(n,)``, float64, in canonical order; NaN where a bit cannot be read.
    """
    compiled = _compiled_for(layers)
    return torch.cat(
        [_margins(layer, o, key, rows, compiled=compiled) for o, layer in enumerate(layers)]
    )


def read_signature(
    layers: Sequence[BoundLayer],
    key: bytes,
    budget: Budget,
    *,
    rows: str = "keyed",
    codewords: Sequence[Tensor] | None = None,
) -> SignatureEvidence:
    """Read a claim's bits from a suspect's layers.

    Args:
        layers: the suspect, from `load_layers`.
        key: the model key of the claim.
        budget: what the p-value has to pay.
        rows: the passports' form.
        codewords: what a message turns in each layer's bits; None without a message.

    Returns:
        Matches, exact p-value before and after payment, and every layer's reading.
    """
    compiled = _compiled_for(layers)
    layers_read = []
    margins: list[float] = []
    for ordinal, layer in enumerate(layers):
        codeword = codewords[ordinal] if codewords else None
        margin = _margins(layer, ordinal, key, rows, codeword, compiled)
        readable = margin[~margin.isnan()].tolist()
        margins += readable
        layers_read.append(
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
    bits, matches = sum(r.bits for r in layers_read), sum(r.matches for r in layers_read)
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
        layers=tuple(layers_read),
        undone=summary([layer.undone for layer in layers]),
    )


def matches_of(layers: Sequence[BoundLayer], key: bytes, *, rows: str = "keyed") -> int:
    """How many bits match under a key: `read_signature` without the report, for many keys."""
    matches = 0
    for ordinal, layer in enumerate(layers):
        target = layer.target
        read = layer.prepared.readings(PackedSigns(key, ordinal, target.fan, rows))
        bits = KeyStream(key, "bits", ordinal).signs(target.channels).numpy()
        matches += int(np.count_nonzero(bits * (layer.turning * read) > 0))
    return matches


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
    unread = sum(layer.undecided for layer in evidence.layers)
    why = f"{unread} cannot be read" if unread else "as chance would have it"
    return Verdict.NOT_VERIFIED, f"{found}, {why}; {needed}"
