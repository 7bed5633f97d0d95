"""The aligned reading: a claim's bits in a suspect that was put into the reference's coordinates.

Its null is that of the direct reading. What is read follows from the suspect, the reference
without its passports, the anchor's exhibit, the passports and the probes. If the suspect
does not depend on b, the matches are Binomial(n, ½), and rows that count as mismatches only make
that fewer.

Wrong keys are compared on the *same* aligned weights, those of the claim's own alignment. Given
these weights the claim's bits and those of a wrong key are alike uniform and independent of them,
so all N + 1 counts are exchangeable, whatever the alignment did. That the alignment itself draws
nothing towards the claim is not what they test; independent models aligned to the reference do
(null models of a dispute, the experiment ``alignment-null``). To align anew for every wrong key
would compare other weights with each other, and cost as many alignments.

The suspect's bits must be in the suspect, not in the coordinates that it was put into, and the
reference was made when the bits were known. So they are read in the coordinates of the anchor's
exhibit, which is older than they are (`modeldeed.alignment.anchored`); what could still be chosen
is paid for. And wherever an aligned reading would verify, the exhibit is read in the same way: if
it carries the bits as well, the reference is a forgery.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from modeldeed.aligned_evidence import AlignedEvidence, AlignedLayerReading, DecoySignatures
from modeldeed.alignment.align import Aligned
from modeldeed.alignment.order import OrderCheck
from modeldeed.alignment.probed import Probed
from modeldeed.alignment.probes import probe_seed
from modeldeed.alignment.reader import Reader, chosen
from modeldeed.digests import sha256
from modeldeed.errors import EvidenceError
from modeldeed.passport.claim import PassportClaim
from modeldeed.passport.evidence.private_check import decoy_keys
from modeldeed.passport.evidence.reading import (
    BoundLayer,
    judge_signature,
    matches_of,
)
from modeldeed.results import SignatureEvidence, Verdict
from modeldeed.statistics import LN2, LN10, Budget, log_binomial_tail, required_matches

__all__ = ["DECOYS", "judge_aligned", "read_aligned", "repriced", "twice"]

DECOYS = 999
_OLDER_LOG2 = -20.0
"""log2 of how improbable an exhibit's matches may be: a millionth of honest references is lost."""


def twice(budget: Budget) -> Budget:
    """What both readings pay once there were two."""
    return replace(budget, readings=2)


def repriced(signature: SignatureEvidence, budget: Budget) -> SignatureEvidence:
    """A signature under another budget: the same matches at another price."""
    log_p = log_binomial_tail(signature.matches, signature.bits)
    return signature.model_copy(
        update={
            "log10_p_paid": budget.paid(log_p) / LN10,
            "threshold_log2": budget.threshold_log2,
            "required_matches": required_matches(signature.bits, budget),
        }
    )


def read_aligned(
    suspect: nn.Module | Probed,
    reference: nn.Module,
    claim: PassportClaim,
    budget: Budget,
    *,
    base: bytes,
    suspect_digest: bytes,
    order: OrderCheck | None,
    exhibit: nn.Module | None = None,
    note: str | None = None,
    decoys: int = DECOYS,
) -> AlignedEvidence:
    """Align a suspect to a claim's reference and read the claim's bits.

    Args:
        suspect: with its weights in it, or an ONNX file that can be probed; left as it is.
        reference: with its weights in it; likewise.
        claim: whose bits.
        budget: of two readings, from `twice`.
        base: digest of the deed, 32 bytes; of the anchor where there is none.
        suspect_digest: 32 bytes.
        order: of the reference's channels, valid; rows that it did not match are mismatches.
            None where no exhibit was shown.
        exhibit: the model that the anchor commits to, its weights in it; in its coordinates the
            bits are read, and rotations are looked for in its basis. Without it they are read in
            the reference's, which is no evidence: whoever made that knew them.
        note: why the reading is no evidence; None where it is.
        decoys: wrong keys.

    Raises:
        EvidenceError: the key cannot open the claim; or the exhibit, which is older than the bits,
            carries them in the reference's coordinates.
        SuspectError: the anchor says nothing of the host's inputs, or a model cannot be run on
            the probes.
    """
    seed = probe_seed(base, suspect_digest)
    basis = None if exhibit is None else _computable(exhibit)
    reader = Reader(claim, _computable(reference), seed, order, basis)
    if isinstance(suspect, nn.Module):
        suspect = _computable(suspect)
    found = reader.read(suspect, budget)
    read, older = found.signature, None
    paying = chosen(budget, found.choices_log2)
    if basis is not None and order is not None and paying.accepts(read.log2_p * LN2):
        older = reader.read(basis, budget).signature
        _require_unmarked(older)
    start = time.perf_counter()
    rows = claim.manifest.anchor.passport_rule.rows
    compared = _decoys(found.layers, read.matches, seed, decoys, rows)
    return AlignedEvidence(
        counts=note is None,
        note=note,
        reading=claim.manifest.anchor.passport_rule.reading_name,
        bits=read.bits,
        matches=read.matches,
        exhibit_matches=None if older is None else older.matches,
        choices_log2=found.choices_log2,
        unmatched=None if order is None else order.bits - order.matched,
        order=None if order is None else order.reason,
        log10_p=read.log10_p,
        log2_p=read.log2_p,
        log10_p_paid=read.log10_p_paid,
        threshold_log2=read.threshold_log2,
        required_matches=read.required_matches,
        median_margin=read.median_margin,
        layers=_layers(found.aligned, read),
        decoys=compared,
        probe_seed=seed.hex(),
        probe_seconds=found.aligned.probe_seconds,
        match_seconds=found.aligned.match_seconds,
        decoy_seconds=time.perf_counter() - start,
    )


def _require_unmarked(exhibit: SignatureEvidence) -> None:
    """Refuse a reference in whose coordinates the anchor's own exhibit carries the bits."""
    if exhibit.log2_p > _OLDER_LOG2:
        return
    raise EvidenceError(
        f"the anchor's exhibit, which is older than the bits, reads {exhibit.matches} of "
        f"{exhibit.bits} of them when it is aligned to the registered reference: they are in the "
        "reference's coordinates and not in its weights, so any copy of the exhibit would carry "
        "them"
    )


def judge_aligned(evidence: AlignedEvidence, budget: Budget) -> tuple[Verdict, str]:
    """Decide a claim from its aligned reading, as from a direct one.

    Returns:
        The verdict and its reason in one sentence.
    """
    read = SignatureEvidence(
        reading=evidence.reading,
        bits=evidence.bits,
        matches=evidence.matches,
        log10_p=evidence.log10_p,
        log2_p=evidence.log2_p,
        log10_p_paid=evidence.log10_p_paid,
        threshold_log2=evidence.threshold_log2,
        required_matches=evidence.required_matches,
        median_margin=evidence.median_margin,
        layers=(),
    )
    verdict, reason = judge_signature(read, chosen(budget, evidence.choices_log2))
    said = f"aligned to the registered reference, {reason}"
    return verdict, f"lineage: {said}" if verdict is Verdict.VERIFIED else said


def _computable(model: nn.Module) -> nn.Module:
    """A model that runs in single precision on the CPU; the same one where it does already."""
    tensors = (*model.parameters(), *model.buffers())
    if all(t.device.type == "cpu" and t.dtype == torch.float32
           for t in tensors if t.is_floating_point()):  # fmt: skip
        return model
    return copy.deepcopy(model).cpu().float()


def _layers(aligned: Aligned, read: SignatureEvidence) -> tuple[AlignedLayerReading, ...]:
    found = {layer.weight: layer for layer in aligned.layers}
    return tuple(
        AlignedLayerReading(
            norm=layer.norm,
            weight=layer.weight,
            source=found[layer.weight].source,
            channels=found[layer.weight].channels,
            found=found[layer.weight].found,
            similarity=found[layer.weight].similarity,
            bits=layer.bits,
            matches=layer.matches,
        )
        for layer in read.layers
    )


def _decoys(
    layers: Sequence[BoundLayer], matches: int, seed: bytes, count: int, rows: str
) -> DecoySignatures:
    drawn = int.from_bytes(sha256(b"decoys", seed)[:6], "big")
    read = [matches_of(layers, key, rows=rows) for key in decoy_keys(drawn, count)]
    as_many = sum(decoy >= matches for decoy in read)
    return DecoySignatures(
        count=count,
        best=max(read, default=0),
        mean=sum(read) / count if count else 0.0,
        rank_p=(1 + as_many) / (count + 1),
    )
