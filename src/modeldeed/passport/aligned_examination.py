"""Level 1 by two readings: the direct one first, the aligned one where that does not verify."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from modeldeed.aligned_evidence import AlignedEvidence
from modeldeed.alignment.order import OrderCheck
from modeldeed.alignment.probed import Probed
from modeldeed.alignment.reading import DECOYS, judge_aligned, read_aligned, repriced, twice
from modeldeed.anchor import Target
from modeldeed.errors import SuspectError
from modeldeed.passport.claim import PassportClaim
from modeldeed.passport.evidence.reading import MIN_BITS, judge_signature
from modeldeed.results import LayerReading, SignatureEvidence, Verdict
from modeldeed.statistics import Budget, log_binomial_tail, required_matches
from modeldeed.suspects import Weights
from modeldeed.suspects.loading import load_weights

__all__ = ["NO_DEED", "AlignedCheck", "Examined", "NeededError", "loaded", "unread"]

NO_DEED = "not evidence: no dated deed"


class NeededError(Exception):
    """An aligned reading is needed and cannot be made; its text says why."""


@dataclass(frozen=True)
class Examined:
    """Level 1 after both readings.

    Attributes:
        verdict: of both; the strongest counts.
        reason: why, in one sentence.
        signature: the direct reading, at the price of as many readings as were made.
        aligned: the aligned reading; None where none was made.
    """

    verdict: Verdict
    reason: str
    signature: SignatureEvidence
    aligned: AlignedEvidence | None = None


@dataclass(frozen=True)
class AlignedCheck:
    """What an aligned reading needs.

    Attributes:
        base: digest of the deed, hexadecimal; of the anchor where there is no deed.
        suspect: with its weights in it, or an ONNX file; None where there is no model code for it.
        reference: the registered model; None likewise.
        order: of the reference's channels, checked and valid; None where no exhibit was shown.
        exhibit: the model that the anchor commits to; None where it is not shown or nothing runs
            it.
        missing: why it cannot count, so that it is not made; None where it can.
        note: why it is no evidence though it is made; None where it is.
        decoys: wrong keys that it is compared with.
    """

    base: str
    suspect: nn.Module | Probed | None
    reference: nn.Module | None
    order: OrderCheck | None = None
    exhibit: nn.Module | None = None
    missing: str | None = None
    note: str | None = None
    decoys: int = DECOYS

    def read(self, claim: PassportClaim, budget: Budget, digest: str) -> AlignedEvidence:
        """Make the reading.

        Args:
            claim: whose bits.
            budget: of one reading.
            digest: of the suspect, hexadecimal.

        Raises:
            EvidenceError: as of `modeldeed.alignment.reading.read_aligned`.
            NeededError: it cannot be made.
        """
        if self.missing is not None:
            raise NeededError(self.missing)
        if claim.manifest.anchor.probes is None:
            raise NeededError("the anchor does not say what inputs the model takes")
        if self.suspect is None or self.reference is None:
            which = "the suspect" if self.suspect is None else "the reference"
            raise NeededError(f"it runs both models, and no model code that fits {which} was given")
        if self.order is None and self.note is None:
            raise NeededError("the anchor's exhibit, the weights before marking, was not shown")
        if self.exhibit is None and self.note is None:
            raise NeededError(
                "it runs the anchor's exhibit as well, and no model code that fits it was given"
            )
        try:
            return read_aligned(
                self.suspect,
                self.reference,
                claim,
                twice(budget),
                base=bytes.fromhex(self.base),
                suspect_digest=bytes.fromhex(digest),
                order=self.order,
                exhibit=self.exhibit,
                note=self.note,
                decoys=self.decoys,
            )
        except SuspectError as error:
            raise NeededError(str(error)) from error

    def after(
        self, direct: SignatureEvidence, judged: tuple[Verdict, str], claim: PassportClaim,
        budget: Budget, digest: str,
    ) -> Examined:  # fmt: skip
        """Read aligned where the direct reading does not verify.

        Args:
            direct: the direct reading.
            judged: its verdict and reason.
            claim: whose bits.
            budget: of one reading.
            digest: of the suspect, hexadecimal.
        """
        verdict, reason = judged
        paid = budget.accepts(log_binomial_tail(direct.matches, direct.bits))
        if paid or direct.bits < MIN_BITS:
            return Examined(verdict, reason, direct)
        try:
            found = self.read(claim, budget, digest)
        except NeededError as error:
            why = f"{reason}; an aligned reading is needed and could not be made: {error}"
            return Examined(Verdict.INCONCLUSIVE, why, direct)
        said, lineage = judge_aligned(found, twice(budget))
        direct = repriced(direct, twice(budget))
        verdict, reason = judge_signature(direct, twice(budget))
        if not found.counts:
            return Examined(verdict, f"{reason}; {lineage} ({found.note})", direct, found)
        if Verdict.VERIFIED is said:
            return Examined(said, f"{lineage}; read directly, {reason}", direct, found)
        strongest = Verdict.INCONCLUSIVE if Verdict.INCONCLUSIVE in (said, verdict) else said
        return Examined(strongest, f"{reason}; {lineage}", direct, found)


def loaded(weights: Weights, models: Sequence[nn.Module]) -> nn.Module | None:
    """A copy of the first model that some weights fit, with the weights in it; None if none does.

    Args:
        weights: of a suspect or a reference.
        models: architectures; left as they are.
    """
    for model in models:
        made = copy.deepcopy(model)
        try:
            load_weights(made, weights)
        except SuspectError:
            continue
        return made.eval()
    return None


def unread(targets: Sequence[Target], budget: Budget, reading: str) -> SignatureEvidence:
    """The direct reading of a suspect whose tensors are not there: every bit a mismatch."""
    layers = tuple(
        LayerReading(
            norm=target.norm,
            weight=target.weight,
            axis=target.axis,
            bits=target.bits,
            matches=0,
            undecided=target.bits,
            median_margin=None,
            lowest_margin=None,
        )
        for target in targets
    )
    bits = sum(layer.bits for layer in layers)
    return SignatureEvidence(
        reading=reading,
        bits=bits,
        matches=0,
        log10_p=0.0,
        log2_p=0.0,
        log10_p_paid=0.0,
        threshold_log2=budget.threshold_log2,
        required_matches=required_matches(bits, budget),
        median_margin=None,
        layers=layers,
    )
