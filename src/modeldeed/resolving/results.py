"""What a resolution found: frozen, with a published JSON schema."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from modeldeed.aligned_evidence import AlignedEvidence
from modeldeed.resolving.words import Order, Presence, Relation, Standing, Void
from modeldeed.results import AnswerEvidence, BranchEvidence, SignatureEvidence, Verdict
from modeldeed.timestamping import Dating

__all__ = [
    "STEPS",
    "ClaimResult",
    "DatePair",
    "Dated",
    "MarkReading",
    "MatrixCell",
    "OtherModel",
    "RelationResult",
    "Resolution",
    "Step",
    "StepStatus",
]

STEPS = (
    "fix and digest the suspect",
    "limits, envelope, key",
    "signature, strict parse",
    "timestamps",
    "opening and commitments",
    "anchor, key, order of channels",
    "reference digests",
    "direct reading on its own reference",
    "budget",
    "L1, direct reading",
    "L1, aligned reading",
    "L2, private branch",
    "L3, answers",
    "null models and public bases",
    "earlier-carrier defence",
    "deed against the suspect's date",
    "cross matrix",
    "order by dates and lineage",
    "words",
    "signed report",
)
"""The judge's twenty steps, in order; the first is number 1."""

_Count = Annotated[int, Field(ge=0)]


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StepStatus(str, Enum):
    """What became of a step."""

    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNAVAILABLE = "unavailable"


class Step(_Result):
    """One step of the judge.

    Attributes:
        number: 1 … 20.
        title: what the step is.
        claim: name of the claim it was taken for; None for a step about all of them.
        status: what became of it.
        note: what was found, or why it was not taken.
    """

    number: Annotated[int, Field(ge=1, le=len(STEPS))]
    title: str
    claim: str | None = None
    status: StepStatus
    note: str


class Dated(_Result):
    """When something existed, by the authorities that say so.

    Attributes:
        word: ``"undated"``, ``"dated, single authority"`` or ``"dated"``; ``"stated by the judge"``
            for a model whose date the judge gave.
        earliest: begin of the effective interval, UTC; None when undated.
        latest: its end.
        authorities: who says so.
    """

    word: str
    earliest: datetime | None = None
    latest: datetime | None = None
    authorities: tuple[str, ...] = ()

    @classmethod
    def of(cls, dating: Dating, *, stated: bool = False) -> Dated:
        """The effective date of some timestamps, or one that the judge states."""
        return cls(
            word="stated by the judge" if stated and dating.earliest else dating.word,
            earliest=dating.earliest,
            latest=dating.latest,
            authorities=dating.authorities,
        )


class MarkReading(_Result):
    """One mark of a claim in one model, with its p before and after payment.

    Attributes:
        mark: ``"passport"``, ``"triggers"`` or ``"plugin"``.
        level: ``"L1"`` or ``"L3"``.
        verdict: by that level's own rule; None where the model could not be examined.
        reason: why, in one sentence.
        alpha_log2: −log2 of the bound that it is held against.
        grinding_log2: log2 of the tries that it pays for.
        matches: bits or answers that match.
        trials: bits of the claim, or answers compared.
        log2_p: before payment, of answers an upper bound of p.
        log2_p_paid: after payment.
        transcripts: SHA-256 of the transcripts of the answers.
    """

    mark: str
    level: Literal["L1", "L3"]
    verdict: Verdict | None
    reason: str
    alpha_log2: _Count
    grinding_log2: _Count
    matches: _Count = 0
    trials: _Count = 0
    log2_p: float | None = None
    log2_p_paid: float | None = None
    transcripts: tuple[str, ...] = ()


class MatrixCell(_Result):
    """One claim's marks in one model, read directly.

    Attributes:
        claim: whose marks.
        model: name of the model: ``"suspect"``, another claim's name for its reference, or the
            judge's name of an exhibit or null model.
        kind: what that model is.
        presence: whether a mark was found.
        readings: mark by mark.
    """

    claim: str
    model: str
    kind: Literal["suspect", "reference", "exhibit", "base", "null"]
    presence: Presence
    readings: tuple[MarkReading, ...]


class OtherModel(_Result):
    """A model that nobody accuses.

    Attributes:
        name: the judge's name of it.
        kind: an exhibit of a party, a known public base, or a null model.
        digest: of its file or files; of a model that is asked, of what says which it is.
        dated: when it existed.
    """

    name: str
    kind: Literal["exhibit", "base", "null"]
    digest: str
    dated: Dated


class RelationResult(_Result):
    """What claims are to each other.

    Attributes:
        relation: the words, A and B standing for the claims.
        claims: their names; of a directed relation the upstream one first.
        words: the same with the names in it.
        reason: why, in one sentence.
    """

    relation: Relation
    claims: tuple[str, ...]
    words: str
    reason: str


class ClaimResult(_Result):
    """What was found about one claim.

    Attributes:
        name: how the resolution calls it.
        digest: of its deed; of the deed's file where that could not be read.
        identity: fingerprint of the claimant's identity; None where the deed could not be read.
        owner: the name that the judge's trust file has for it; None without one.
        verdict: the outcome.
        reason: why, in one sentence.
        presence: whether its mark is in the suspect, whatever the dates say.
        void: why it is no evidence; None where it is.
        dated: the deed's effective date.
        standing: how that lies to the suspect's earliest proven existence.
        anchored: whether a timestamped anchor lowers the price of grinding.
        order: what the order check of its reference found; None where none was made.
        signature: L1 on the suspect, read directly, of the first passport.
        aligned: L1 on the suspect after alignment, where the direct reading did not verify and one
            could be made.
        branch: L2.
        answers: L3, one for each mark that was asked for; which mark is said by `matrix`.
        warnings: what a reader must know beside the verdict.
    """

    name: str
    digest: str
    identity: str | None = None
    owner: str | None = None
    verdict: Verdict
    reason: str
    presence: Presence
    void: Void | None = None
    dated: Dated
    standing: Standing
    anchored: bool = False
    order: str | None = None
    signature: SignatureEvidence | None = None
    aligned: AlignedEvidence | None = None
    branch: BranchEvidence | None = None
    answers: tuple[AnswerEvidence, ...] = ()
    warnings: tuple[str, ...] = ()


class DatePair(_Result):
    """How the dates of two deeds lie.

    Attributes:
        first: a claim's name.
        second: another's, later in the alphabet.
        dates: the first before or after the second, or unknown.
    """

    first: str
    second: str
    dates: Order


class Resolution(_Result):
    """What a judge found about some claims and one suspect.

    Attributes:
        outcome: the whole in one word; the exit code of the command follows from it.
        reason: why, in one sentence.
        suspect: what was examined, as the caller named it.
        suspect_digest: as of `Report`.
        suspect_dated: its earliest proven existence.
        nonce: what the judge drew for this dispute; openings are bound to it.
        claims: sorted by their deeds' digests.
        relations: of claims to the suspect and to each other.
        dates: of every two deeds.
        matrix: every claim's marks in every model.
        others: exhibits, public bases and null models.
        steps: what the judge did, in order.
        warnings: what a reader must know beside the outcome.
        version: of the package.
    """

    schema_version: Literal["modeldeed-resolution/v1"] = "modeldeed-resolution/v1"
    outcome: Verdict
    reason: str
    suspect: str
    suspect_digest: str
    suspect_dated: Dated
    nonce: str
    claims: tuple[ClaimResult, ...]
    relations: tuple[RelationResult, ...]
    dates: tuple[DatePair, ...] = ()
    matrix: tuple[MatrixCell, ...]
    others: tuple[OtherModel, ...] = ()
    steps: tuple[Step, ...]
    warnings: tuple[str, ...] = ()
    version: str

    def claim(self, name: str) -> ClaimResult:
        """The result of one claim.

        Raises:
            KeyError: there is no claim of that name.
        """
        for claim in self.claims:
            if claim.name == name:
                return claim
        raise KeyError(name)
