"""Examining weights for a passport: levels 1 and 2, from opening the suspect to the report."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from torch import nn

from modeldeed._version import __version__
from modeldeed.anchoring.standing import UNANCHORED, Standing
from modeldeed.errors import SuspectError
from modeldeed.passport.aligned_examination import AlignedCheck, Examined, unread
from modeldeed.passport.claim import PassportClaim
from modeldeed.passport.evidence.coloured import seen_weights
from modeldeed.passport.evidence.message import codewords_of
from modeldeed.passport.evidence.private_check import (
    DEFAULT_DECOYS,
    JudgeData,
    Progress,
    check_branch,
)
from modeldeed.passport.evidence.reading import judge_signature, load_layers, read_signature
from modeldeed.results import BranchEvidence, Report, SignatureEvidence, Support, Verdict
from modeldeed.statistics import Budget
from modeldeed.suspects import Weights, open_weights
from modeldeed.suspects.loading import load_weights
from modeldeed.suspects.restored import restore

__all__ = ["WHITE_BOX", "BranchCheck", "branch_evidence", "examine_weights"]

logger = logging.getLogger(__name__)

WHITE_BOX = Budget(alpha_log2=64, grinding_log2=64)
"""Of the white-box mark: a false positive in 2⁶⁴, unanchored."""


@dataclass(frozen=True)
class BranchCheck:
    """What level 2 needs.

    Attributes:
        model: an instance of the suspect's architecture; it gets the suspect's weights.
        data: of the judge.
        decoys: wrong keys tried.
        seed: they follow from it; None draws one.
        progress: told about them.
    """

    model: nn.Module
    data: JudgeData
    decoys: int = DEFAULT_DECOYS
    seed: int | None = None
    progress: Progress | None = None


def examine_weights(
    suspect: Any,
    claim: PassportClaim,
    standing: Standing = UNANCHORED,
    *,
    unanchored: Budget = WHITE_BOX,
    branch: BranchCheck | None = None,
    aligned: AlignedCheck | None = None,
) -> Report:
    """Examine a suspect's weights for a claim.

    Args:
        suspect: a safetensors file, a checkpoint, a state dict or a module.
        claim: whose bits are read.
        standing: what its anchor is worth to this judge.
        unanchored: what the claim pays if that is nothing.
        branch: for level 2; None leaves it out.
        aligned: for a second reading where the direct one does not verify; None leaves it out.
            A suspect without the claim's tensors is then one whose bits are mismatches.

    Returns:
        The report. A claim to another's passport is never verified, and never anchored: another's
        anchor would have had a token of its own.

    Raises:
        EvidenceError: the key cannot open the claim though the identity is the same.
        SuspectError: the suspect cannot be read, or lacks tensors of the claim.
    """
    anchor = claim.manifest.anchor
    standing = standing if claim.owns else UNANCHORED
    budget, key = standing.budget(unanchored), claim.model_key()
    opened, missing = open_weights(suspect), tuple[str, ...]()
    try:
        weights: Weights = restore(opened, anchor.targets)
        signature, digest = _signature(weights, claim, key, budget)
    except SuspectError as error:
        if aligned is None or not claim.owns:
            raise
        weights, digest = opened, opened.digest()
        signature = unread(anchor.targets, budget, anchor.passport_rule.reading_name)
        missing, branch = (f"not read directly: {error}",), None
    found = Examined(*judge_signature(signature, budget), signature)
    if not claim.owns:
        reason = f"the key is not this passport's; read under it, {found.reason}"
        found = Examined(Verdict.NOT_VERIFIED, reason, signature)
    elif aligned is not None:
        found = aligned.after(signature, (found.verdict, found.reason), claim, budget, digest)
    private: BranchEvidence | None = None
    if branch is not None:
        load_weights(branch.model, weights)
        private = branch_evidence(claim, key, branch, found.verdict)
    return Report(
        verdict=found.verdict,
        reason=found.reason,
        identity=claim.claimant.identity.fingerprint,
        anchored=standing.anchored,
        anchor_time=standing.shown(),
        suspect=weights.label,
        suspect_digest=digest,
        anchor_digest=anchor.digest,
        signature=found.signature,
        aligned=found.aligned,
        branch=private,
        warnings=(*missing, *_warnings(signature, anchor.passport_rule.rows), *standing.notes),
        version=__version__,
    )


def _signature(
    weights: Weights, claim: PassportClaim, key: bytes, budget: Budget
) -> tuple[SignatureEvidence, str]:
    """Level 1, and the digest of what was read."""
    manifest, anchor = claim.manifest, claim.manifest.anchor
    layers = load_layers(*seen_weights(weights, anchor.targets, claim.factors))
    # Hashing takes longer than reading, and both leave the other a core.
    with ThreadPoolExecutor(1) as beside:
        digest = beside.submit(weights.digest)
        signature = read_signature(
            layers,
            key,
            budget,
            rows=anchor.passport_rule.rows,
            codewords=codewords_of(key, anchor.targets, manifest.message),
        )
        suspect_digest = digest.result()
    weights.require_unchanged()
    reading = anchor.passport_rule.reading_name
    return signature.model_copy(update={"reading": reading}), suspect_digest


def branch_evidence(
    claim: PassportClaim, key: bytes, check: BranchCheck, verdict: Verdict
) -> BranchEvidence:
    """Level 2 of a model that holds the suspect's weights.

    It supports a claim only where the signature carries it: wrong keys are exchangeable with a key
    that was not chosen, and rank p-values pay for no choice.

    Args:
        claim: the passport's.
        key: the model key of the claim.
        check: the model and the judge's data.
        verdict: of level 1.
    """
    found = check_branch(
        check.model,
        claim.manifest.anchor,
        key,
        check.data,
        heads=claim.heads,
        factors=claim.factors,
        decoys=check.decoys,
        seed=check.seed,
        progress=check.progress,
    )
    if found.word is not Support.SUPPORTS or verdict is Verdict.VERIFIED:
        return found
    reason = f"{found.reason}; but the signature does not carry this claim, and keys can be tried"
    return found.model_copy(update={"word": Support.UNINFORMATIVE, "reason": reason})


def _warnings(signature: SignatureEvidence, rows: str) -> tuple[str, ...]:
    warnings = []
    undecided = sum(layer.undecided for layer in signature.layers)
    if undecided:
        warnings.append(
            f"unreadable bits, counted as mismatches: {undecided} (zero rows, zero scales or NaN)"
        )
    if rows == "shared":
        warnings.append(
            "the passport uses shared rows (the published form): they can be read and removed "
            "without the key"
        )
    for warning in warnings:
        logger.warning(warning)
    return tuple(warnings)
