"""Step 11, and the aligned half of steps 14 and 15: readings after alignment in a dispute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modeldeed.aligned_evidence import AlignedEvidence
from modeldeed.alignment.reading import DECOYS, judge_aligned, twice
from modeldeed.errors import EvidenceError
from modeldeed.passport.aligned_examination import AlignedCheck, NeededError
from modeldeed.passport.claim import PassportClaim
from modeldeed.passport.evidence.reading import MIN_BITS
from modeldeed.resolving.examinee import Examinee
from modeldeed.resolving.reading import JudgedMark
from modeldeed.resolving.results import MarkReading
from modeldeed.resolving.step_log import StepLog
from modeldeed.resolving.taken_claim import TakenClaim
from modeldeed.resolving.verdicts import Examined
from modeldeed.resolving.words import Standing
from modeldeed.results import Verdict

__all__ = ["Lineage", "carried", "second_reading"]


_NOBODY = "of a model that nobody accuses"


@dataclass(frozen=True)
class Lineage:
    """What came of step 11.

    Attributes:
        examined: the verdict of the aligned reading; None where none was made.
        evidence: behind it.
        missing: why one is needed and could not be made; None otherwise.
        forged: why the reference is no evidence, which only an aligned reading shows; else None.
    """

    examined: Examined | None = None
    evidence: AlignedEvidence | None = None
    missing: str | None = None
    forged: str | None = None


def second_reading(
    claim: TakenClaim,
    readings: Sequence[MarkReading],
    standing: Standing,
    suspect: Examinee,
    log: StepLog,
) -> Lineage:
    """Step 11: the aligned reading of the suspect, where the direct one does not verify.

    Args:
        claim: taken in.
        readings: direct ones of the suspect.
        standing: of the deed's date to the suspect's.
        suspect: what is accused.
        log: of the steps.
    """
    direct = [reading for reading in readings if reading.level == "L1"]
    why = _unneeded(claim, direct, standing, suspect)
    if why is not None:
        log.skipped(11, why, claim.name)
        return Lineage()
    mark = next(m for m in claim.marks if isinstance(m.claim, PassportClaim) and m.anchored)
    try:
        evidence = _aligned(claim, mark, suspect)
    except NeededError as error:
        log.unavailable(11, str(error), claim.name)
        missing = f"an aligned reading is needed and could not be made: {error}"
        return Lineage(missing=missing)
    except EvidenceError as error:
        log.failed(11, str(error), claim.name)
        return Lineage(forged=str(error))
    verdict, reason = judge_aligned(evidence, twice(mark.budget))
    decoys = evidence.decoys
    log.done(
        11,
        f"{reason}; log2 p {evidence.log2_p:.1f}; the best of {decoys.count} wrong keys matches "
        f"{decoys.best}; not matched by the order check: {evidence.unmatched}",
        claim.name,
    )
    return Lineage(Examined("L1", verdict, reason), evidence)


def carried(claim: TakenClaim, model: Examinee) -> tuple[Verdict, str] | None:
    """Whether a claim's passport is in another model by aligned reading; None where none is made.

    It costs the claim nothing to be looked for where nobody accuses, and it ends the claim if the
    mark is there: so no exhibit is asked for, and rows out of order are read all the same.

    Args:
        claim: whose passport.
        model: an exhibit, a public base or a null model.
    """
    for mark in claim.marks:
        if not isinstance(mark.claim, PassportClaim) or model.weights is None:
            continue
        try:
            evidence = _aligned(claim, mark, model, _NOBODY)
        except NeededError:
            continue
        verdict, _ = judge_aligned(evidence, twice(mark.budget))
        return verdict, f"aligned {evidence.matches} of {evidence.bits} bits"
    return None


def _unneeded(
    claim: TakenClaim, direct: Sequence[MarkReading], standing: Standing, suspect: Examinee
) -> str | None:
    if not direct or suspect.weights is None:
        return "there are no weights to align"
    if any(reading.verdict is Verdict.VERIFIED for reading in direct):
        return "the direct reading verifies"
    anchored = any(m.anchored for m in claim.marks if isinstance(m.claim, PassportClaim))
    if not anchored or claim.dating.earliest is None:
        return "it counts only with an anchored and dated deed, and this one is not"
    if standing in (Standing.LATER, Standing.OPEN):
        return "it counts only with a deed dated before the suspect"
    if 0 < max(reading.trials for reading in direct) < MIN_BITS:
        return f"fewer than {MIN_BITS} bits never verify alone"
    return None


def _aligned(
    claim: TakenClaim, mark: JudgedMark, model: Examinee, note: str | None = None
) -> AlignedEvidence:
    passport = mark.claim
    if not isinstance(passport, PassportClaim) or claim.reference is None:
        raise NeededError("there is no passport, or no reference")
    order = None if note else claim.orders.get(passport.manifest.anchor.digest)
    if order is None and note is None:
        raise NeededError("the anchor's exhibit (unmarked.safetensors) was not shown")
    suspect, reference = model.probed, claim.reference.runnable
    if suspect is None or reference is None:
        which = "the suspect" if suspect is None else "the reference"
        raise NeededError(f"no model code that fits {which} was given (--model)")
    decoys = DECOYS if note is None else 0
    shown = None if claim.exhibit is None else claim.exhibit.runnable
    check = AlignedCheck(claim.digest, suspect, reference, order, shown, note=note, decoys=decoys)
    return check.read(passport, mark.budget, model.digest)
