"""From an opened mark to one that a judge examines: its claim, its budget, its batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from modeldeed.deed import Deed
from modeldeed.deed.recomputing import ShownMark
from modeldeed.deed.verifying import DeedStanding, answer_claim, passport_claim
from modeldeed.errors import OptionError
from modeldeed.passport.examination import WHITE_BOX
from modeldeed.querying.answer_claim import AnswerClaim
from modeldeed.resolving.judge import Judge
from modeldeed.resolving.reading import JudgedMark
from modeldeed.statistics import BLACK_BOX
from modeldeed.timestamping import Stamp

__all__ = ["judged"]


def judged(
    mark: ShownMark, deed: Deed, judge: Judge, passport: Path | None
) -> tuple[JudgedMark, Stamp | None, tuple[str, ...]]:
    """An opened mark as it will be examined.

    Args:
        mark: whose commitments hold.
        deed: that it is in. A claimant chooses which of its marks he shows, so each pays for all
            those that are looked for in the same way: for weights, or for answers.
        judge: whose authorities count, and whose carriers a plug-in is asked on.
        passport: the passport's folder, where its reading or head needs files.

    Returns:
        The mark; the verified timestamp of its anchor, if any; what a reader must know.

    Raises:
        EvidenceError: the anchor's token is not of the authority it names, or files of the
            passport are missing or others.
        OptionError: the passport's reading needs its folder.
    """
    standing = DeedStanding.of(mark, judge.trust)
    white = mark.kind == "passport"
    budget = standing.budget(WHITE_BOX if white else BLACK_BOX)
    alike = sum((entry.kind == "passport") == white for entry in deed.marks)
    made = JudgedMark(
        kind=mark.kind,
        claim=passport_claim(mark, passport) if white else _answer_claim(mark, judge),
        budget=replace(budget, grinding_log2=budget.grinding_log2 + (alike - 1).bit_length()),
        anchored=standing.anchored,
        batches=() if white else tuple(sorted(mark.batches)) or (0,),
    )
    return made, standing.stamp, standing.notes


def _answer_claim(mark: ShownMark, judge: Judge) -> AnswerClaim | None:
    if mark.kind != "plugin":
        return answer_claim(mark, None)
    if judge.carriers is None:
        return None
    try:
        return answer_claim(mark, judge.carriers)
    except OptionError:  # the judge's data are of another form, which is no fault of the claim
        return None
