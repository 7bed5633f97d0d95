"""Results: what a verification found, frozen, with a published JSON schema.

`Report.model_json_schema()` is the schema of ``modeldeed verify --json``; reports are read back by
`Report.model_validate_json`.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from modeldeed.aligned_evidence import AlignedEvidence
from modeldeed.errors import OptionError

__all__ = [
    "AlignedEvidence",
    "AnchorTime",
    "AnswerEvidence",
    "BatchAnswers",
    "BranchEvidence",
    "LayerReading",
    "NullAnswers",
    "Report",
    "SignatureEvidence",
    "Support",
    "Verdict",
]

_Rate = Annotated[float, Field(ge=0, le=1)]
_Count = Annotated[int, Field(ge=0)]


class Verdict(str, Enum):
    """The four outcomes of a claim."""

    VERIFIED = "verified"
    NOT_VERIFIED = "not verified"
    INCONCLUSIVE = "inconclusive"
    EVIDENCE_INVALID = "evidence invalid"


class Support(str, Enum):
    """What the private branch says about a claim; it never decides one."""

    SUPPORTS = "supports"
    CONTRADICTS = "contradicts"
    UNINFORMATIVE = "uninformative"


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LayerReading(_Result):
    """The signature bits of one normalization layer.

    Attributes:
        norm: the layer's name in the host model.
        weight: the tensor the bits were read from.
        axis: dimension of that tensor along which the channels lie.
        bits: bits the claim holds in this layer.
        matches: bits that read as claimed.
        undecided: bits that cannot be read (zero row, zero scale, NaN); counted as mismatches.
        median_margin: median of b·c·r in standard deviations of an unrelated weight; None when
            no bit could be read.
        lowest_margin: the smallest of them.
    """

    norm: str
    weight: str
    axis: _Count
    bits: _Count
    matches: _Count
    undecided: _Count
    median_margin: float | None
    lowest_margin: float | None


class SignatureEvidence(_Result):
    """L1: the signature bits, read from weights alone.

    Attributes:
        reading: the versioned rule by which a bit is read.
        bits: n, all bits of the claim.
        matches: how many read as claimed; Binomial(n, ½) for an unrelated model.
        log10_p: exact p-value before payment.
        log2_p: the same to base 2.
        log10_p_paid: after payment for grinding and readings.
        threshold_log2: the largest log2 p (before payment) that verifies.
        required_matches: matches that the threshold asks for; None if n is too small for any.
        median_margin: over all readable bits, in standard deviations.
        layers: the readings layer by layer.
        undone: what was undone before reading (prefixes, stored types, folded scales), and in how
            many layers.
    """

    level: Literal["L1"] = "L1"
    reading: str
    bits: _Count
    matches: _Count
    log10_p: float
    log2_p: float
    log10_p_paid: float
    threshold_log2: float
    required_matches: _Count | None
    median_margin: float | None
    layers: tuple[LayerReading, ...]
    undone: tuple[str, ...] = ()


class BranchEvidence(_Result):
    """L2: accuracy of the private branch against wrong keys on the judge's data.

    Attributes:
        word: supports, contradicts or is uninformative about the claim.
        reason: why, in one sentence.
        public_accuracy: the suspect as it is.
        private_accuracy: under the claimed key, statistics re-estimated.
        decoys: accuracy under each wrong key, statistics re-estimated alike.
        rank_p: (1 + #{decoy ≥ owner}) / (N + 1).
        planned_decoys: how many were to be tried before an early stop.
        decoy_seed: they follow from it.
        calibration_images: unlabelled images that re-estimated the statistics.
        test_images: labelled images behind every accuracy.
        seconds: wall time.
    """

    level: Literal["L2"] = "L2"
    word: Support
    reason: str
    public_accuracy: _Rate
    private_accuracy: _Rate
    decoys: tuple[_Rate, ...]
    rank_p: _Rate
    planned_decoys: _Count
    decoy_seed: _Count
    calibration_images: _Count
    test_images: _Count
    seconds: float


class BatchAnswers(_Result):
    """How a suspect answered one batch of triggers.

    Attributes:
        batch: its number; the others stay secret.
        planned: triggers it has.
        queries: answers that were compared.
        matches: of them, those that are the trigger's label.
        refused: triggers without an answer to compare.
        foreign: answers that are no class of the claim; mismatches.
        outcomes: query by query: matched or not, null where it was refused.
        log10_e: e-value that the mark is there, as it stood at the end.
        log10_e_absent: e-value that the match rate is below the least one.
        transcript: digest of the transcript; None if none was kept.
    """

    batch: _Count
    planned: _Count
    queries: _Count
    matches: _Count
    refused: _Count
    foreign: _Count
    outcomes: tuple[bool | None, ...]
    log10_e: float
    log10_e_absent: float
    transcript: str | None = None


class NullAnswers(_Result):
    """What a model that was not marked made of the same triggers.

    Attributes:
        model: as the caller named it.
        queries: answers compared: to the triggers that the suspect was asked.
        matches: of them, those that are the trigger's label.
        outcomes: as of `BatchAnswers`, over all batches.
        log10_e: the e-value that it reached at its end.
    """

    model: str
    queries: _Count
    matches: _Count
    outcomes: tuple[bool | None, ...]
    log10_e: float


class AnswerEvidence(_Result):
    """L3: answers to keyed triggers.

    Attributes:
        test: ``"sequential"``: as many queries as it takes; ``"fixed"``: a number fixed before.
        family: how the triggers were drawn.
        classes: K; an unrelated suspect matches with probability 1/K.
        planned: triggers of all batches that were to be used.
        queries: answers compared.
        matches: of them, those that are the trigger's label.
        refused: triggers without an answer to compare.
        match_rate: matches over queries; None without queries.
        rate_low: lower end of a 95 % interval of the match rate that holds however the queries
            were stopped (of a fixed number: the exact one).
        rate_high: upper end.
        log10_e: evidence that the mark is there: sequentially the e-value, averaged over batches;
            None for a fixed number.
        log10_p: sequentially 1/E, an upper bound of p valid at any time; else the exact p-value.
        threshold_log10: what log10 E, or −log10 p, must reach.
        log10_e_absent: evidence of a match rate below the least one; None for a fixed number.
        least_rate: q_min: a suspect that matches less often does not carry the mark.
        batches: one by one.
        nulls: other models on the same triggers.
    """

    level: Literal["L3"] = "L3"
    test: Literal["sequential", "fixed"]
    family: str
    classes: _Count
    planned: _Count
    queries: _Count
    matches: _Count
    refused: _Count
    match_rate: _Rate | None
    rate_low: _Rate
    rate_high: _Rate
    log10_e: float | None
    log10_p: float
    threshold_log10: float
    log10_e_absent: float | None
    least_rate: _Rate
    batches: tuple[BatchAnswers, ...]
    nulls: tuple[NullAnswers, ...] = ()


class AnchorTime(_Result):
    """When an anchor was signed: from ``earliest`` to ``latest``, by whom the judge trusts.

    Attributes:
        authority: its name, in the judge's own words; ``policy`` and ``root`` tell which it is.
    """

    authority: str
    policy: str
    root: str
    earliest: AwareDatetime
    latest: AwareDatetime


class Report(_Result):
    """What one claim's verification found.

    Attributes:
        verdict: the outcome.
        reason: why, in one sentence.
        identity: fingerprint of the claimant's identity.
        anchored: whether a timestamped anchor lowers the price of grinding.
        anchor_time: when it was signed, and by whom; None where it is not anchored.
        suspect: what was examined, as the caller named it.
        suspect_digest: SHA-256 of the file, or Merkle root of tensors in memory; of a suspect that
            was asked: SHA-256 of what says which it is and how.
        anchor_digest: SHA-256 of the canonical anchor.
        deed: digest of the deed whose rule was followed; None without one.
        signature: L1, directly; None where answers were examined.
        aligned: L1 after alignment, where the direct reading did not verify and one was made.
        branch: L2, when model code and data were given.
        answers: L3; None where weights were examined.
        warnings: what a reader must know beside the verdict.
        version: of the package.
    """

    schema_version: Literal["modeldeed-report/v1"] = "modeldeed-report/v1"
    verdict: Verdict
    reason: str
    identity: str
    anchored: bool
    anchor_time: AnchorTime | None = None
    suspect: str
    suspect_digest: str
    anchor_digest: str
    deed: str | None = None
    signature: SignatureEvidence | None = None
    aligned: AlignedEvidence | None = None
    branch: BranchEvidence | None = None
    answers: AnswerEvidence | None = None
    warnings: tuple[str, ...] = ()
    version: str

    @model_validator(mode="after")
    def _check_evidence(self) -> Report:
        if (self.signature is None) == (self.answers is None):
            raise ValueError("a report is about weights or about answers: L1 or L3, not both")
        if self.branch is not None and self.signature is None:
            raise ValueError("L2 stands beside L1")
        if self.aligned is not None and self.signature is None:
            raise ValueError("the direct reading is always made first")
        if self.anchored != (self.anchor_time is not None):
            raise ValueError("a claim is anchored where its anchor has a time, and only there")
        return self

    def require_signature(self) -> SignatureEvidence:
        """L1.

        Raises:
            OptionError: answers were examined, not weights.
        """
        if self.signature is None:
            raise OptionError("this report is about answers; it holds no signature")
        return self.signature
