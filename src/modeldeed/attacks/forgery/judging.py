"""A forged claim before our judge: the public API, and what it says."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from modeldeed.attacks.forgery.registry import Claim
from modeldeed.errors import EvidenceError
from modeldeed.passport import JudgeData
from modeldeed.results import Report, Verdict
from modeldeed.triggers.trigger_set import TriggerSet
from modeldeed.verification import verify

__all__ = ["DECOYS", "Judgement", "judged"]

DECOYS = 19
"""Wrong keys in level 2: as few as can support a claim at all."""


@dataclass(frozen=True)
class Judgement:
    """What became of a forged claim.

    Attributes:
        verdict: of `modeldeed.verify`; *evidence invalid* where it refused what was handed in.
        reason: in its words.
        report: None where it refused.
    """

    verdict: Verdict
    reason: str
    report: Report | None

    @property
    def accepted(self) -> bool:
        """Whether the forger has his way."""
        return self.verdict is Verdict.VERIFIED


def judged(
    claim: Claim,
    suspect: nn.Module,
    *,
    model: nn.Module | None = None,
    data: JudgeData | None = None,
    decoys: int = DECOYS,
) -> Judgement:
    """Judge a forged claim by the package's own rule.

    Args:
        claim: what the forger hands in.
        suspect: the model that he claims; not changed.
        model: a network of its architecture, for level 2; its weights are replaced.
        data: the judge's own data, for level 2.
        decoys: wrong keys in level 2.

    Returns:
        The verdict and the report behind it.
    """
    try:
        if isinstance(claim.submitted, TriggerSet):
            report = verify(suspect, triggers=claim.submitted, owner=claim.owner)
        else:
            report = verify(
                suspect,
                passport=claim.submitted,
                owner=claim.owner,
                model=model,
                data=data,
                decoys=decoys,
            )
    except EvidenceError as error:
        return Judgement(Verdict.EVIDENCE_INVALID, str(error), None)
    return Judgement(report.verdict, report.reason, report)
