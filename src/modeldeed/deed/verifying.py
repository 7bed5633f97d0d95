"""Verifying a claim by its deed and an opening: the judge's steps 2 to 13 for one claim.

The rule of decision is the one that the deed commits to, and never laxer than the judge's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from modeldeed.anchoring.standing import Standing, Trusted, standing_of
from modeldeed.deed.aligning import Alignable, aligned_check, checked_order, lineage_notes
from modeldeed.deed.batch_claims import batch_claim
from modeldeed.deed.budgets import MarkBudget
from modeldeed.deed.checking import DeedCheck, model_word
from modeldeed.deed.deed import Deed
from modeldeed.deed.files import load_opening
from modeldeed.deed.opening import Opening
from modeldeed.deed.recomputing import ShownMark, shown_marks
from modeldeed.errors import EvidenceError, OptionError
from modeldeed.passport.claim import PassportClaim
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.passport.examination import BranchCheck, examine_weights
from modeldeed.plugin.carriers import canonical_carriers
from modeldeed.querying.answer_claim import AnswerClaim
from modeldeed.querying.claims import claim_of
from modeldeed.querying.query import examine_answers
from modeldeed.results import Report, Verdict
from modeldeed.statistics import Budget
from modeldeed.suspects.answering.preparation import Prepare
from modeldeed.trust import Trust

__all__ = [
    "DeedStanding",
    "answer_claim",
    "open_deed",
    "passport_claim",
    "require_reference",
    "verify_deed",
]


@dataclass(frozen=True)
class DeedStanding(Standing):
    """What an anchor is worth where a deed fixed the rule: the stricter of deed and judge.

    Attributes:
        committed: the deed's budget of the mark.
    """

    committed: MarkBudget | None = None

    def budget(self, unanchored: Budget) -> Budget:
        """What the claim has to pay."""
        floor = super().budget(unanchored)
        if self.committed is None:
            return floor
        return replace(
            floor,
            alpha_log2=max(floor.alpha_log2, self.committed.alpha_log2),
            grinding_log2=max(floor.grinding_log2, self.committed.grinding_log2),
        )

    @classmethod
    def of(cls, shown: ShownMark, trust: Trust | None) -> DeedStanding:
        """The standing of an opened mark.

        Where only batches are shown, nobody saw that they follow from the anchor's key: they could
        have been chosen, so they pay the unanchored price.
        """
        if shown.manifest is None:
            note = "only batches were opened, so the claim pays for 2^64 keys tried beforehand"
            return cls(notes=(note,), committed=shown.entry.budget)
        base = standing_of(shown.manifest, trust)
        return cls(base.stamp, base.notes, shown.entry.budget)


def open_deed(
    deed: Deed | str | Path,
    opening: Opening | str | Path,
    *,
    trust: Trust | None,
    nonce: str | None,
) -> tuple[Deed, Opening, tuple[ShownMark, ...], DeedCheck]:
    """Read a deed and its opening, and check both.

    Raises:
        OptionError: one of them is not there.
        EvidenceError: one was altered, they do not belong together, something contradicts the
            deed, or the opening shows something else than the deed commits to.
    """
    deed = deed if isinstance(deed, Deed) else Deed.load(deed)
    opening = opening if isinstance(opening, Opening) else load_opening(Path(opening))
    check = deed.check(trust=trust)
    check.require_valid()
    return deed, opening, shown_marks(deed, opening, nonce=nonce), check


def verify_deed(
    suspect: Any,
    *,
    deed: Deed | str | Path | None,
    opening: Opening | str | Path | None,
    asked: bool,
    trust: Trusted | None = None,
    nonce: str | None = None,
    reference: str | Path | None = None,
    kind: str | None = None,
    claims: tuple[Any, Any, Any, Any] = (None, None, None, None),
    carriers: Tensor | None = None,
    branch: BranchCheck | None = None,
    alignable: Alignable | None = None,
    batches: Sequence[int] | None = None,
    transcripts: str | Path | None = None,
    prepare: Prepare | None = None,
) -> Report:
    """Verify a claim to a suspect under the rule that its deed commits to.

    Args:
        suspect: as of `modeldeed.verify`.
        deed: or its folder.
        opening: for this suspect, or its file.
        asked: whether the suspect can only be asked.
        trust: known owners and authorities; None knows none.
        nonce: that the judge drew, hexadecimal; None for checks of one's own, with a warning.
        reference: the deed's own model; a deed whose reference is not shown, or does not carry the
            mark, is void.
        kind: of the mark to look for; None takes what fits the suspect.
        claims: what `modeldeed.verify` was given as passport, triggers, plug-in and owner. Of
            these a passport's folder has its place: for learned heads and coloured readings, which
            the deed commits to by digest.
        carriers: for a plug-in.
        branch: for level 2.
        alignable: for an aligned reading where the direct one does not verify; None asks for none.
        batches: numbers of batches to ask; None takes the first one that was opened.
        transcripts: folder of transcripts; None keeps none.
        prepare: of a suspect in this process.

    Returns:
        The report.

    Raises:
        EvidenceError: any of the judge's steps 2 to 8 fails.
        SuspectError: the suspect or the reference cannot be read.
        OptionError: the opening shows no mark that could be looked for in this suspect.
    """
    if deed is None or opening is None:
        raise OptionError("deed and opening go together: a deed alone shows nothing to look for")
    if trust is not None and not isinstance(trust, Trust):
        raise OptionError("with a deed, trust is a trust file: modeldeed.trust.Trust")
    passport = _folder(claims)
    deed, opening, shown, check = open_deed(deed, opening, trust=trust, nonce=nonce)
    mark = _chosen(shown, asked=asked, kind=kind, carriers=carriers, suspect=suspect)
    notes = _notes(check, nonce, reference)
    if reference is not None:
        notes += require_reference(deed, shown, reference, trust=trust, passport=passport)
    standing = DeedStanding.of(mark, trust)
    if mark.kind == "passport":
        claim = passport_claim(mark, passport)
        aligned = None
        if alignable is not None:
            order = checked_order(claim, reference, alignable)
            aligned = aligned_check(suspect, alignable, deed.digest, standing, check, order)
        report = examine_weights(suspect, claim, standing, branch=branch, aligned=aligned)
    elif branch is not None or alignable is not None:
        raise OptionError("levels 1 and 2 read weights; this mark is asked for answers")
    else:
        report = examine_answers(
            suspect,
            answer_claim(mark, carriers),
            standing,
            batches=(min(mark.batches, default=0),) if batches is None else batches,
            transcripts=transcripts,
            prepare=prepare,
            expected=opening.suspect,
        )
    if report.suspect_digest != opening.suspect:
        raise EvidenceError(
            f"the opening is for the suspect {opening.suspect[:16]}…, and this one is "
            f"{report.suspect_digest[:16]}…"
        )
    warnings = (*report.warnings, *notes, *lineage_notes(report, check))
    return report.model_copy(update={"deed": deed.digest, "warnings": warnings})


def _folder(claims: tuple[Any, Any, Any, Any]) -> str | Path | None:
    """The passport's folder; other claims beside a deed would be another rule than its own."""
    passport, *others = claims
    if any(other is not None for other in others):
        raise OptionError("the claim is in the deed and its opening: leave out other claims")
    if passport is not None and not isinstance(passport, str | Path):
        raise OptionError("with a deed, passport is the folder of the passport that it commits to")
    return passport


def require_reference(
    deed: Deed,
    shown: Iterable[ShownMark],
    reference: str | Path,
    *,
    trust: Trust | None = None,
    passport: str | Path | None = None,
) -> tuple[str, ...]:
    """Refuse a deed whose own model is another one or does not carry its passport.

    Args:
        deed: checked.
        shown: its opened marks.
        reference: the deed's own model.
        trust: as of `verify_deed`.
        passport: as of `verify_deed`.

    Returns:
        What could not be looked at, for the report.

    Raises:
        EvidenceError: the deed is void.
        SuspectError: the reference cannot be read.
    """
    if model_word(deed.statement, reference) == "another model":
        raise EvidenceError(
            "void: the reference is not the deed's model; neither its files nor its tensors fit"
        )
    notes = []
    for mark in shown:
        if mark.kind != "passport":
            notes.append(f"the reference was not asked whether it carries the mark {mark.kind!r}")
            continue
        claim = passport_claim(mark, passport)
        report = examine_weights(reference, claim, DeedStanding.of(mark, trust))
        if report.verdict is not Verdict.VERIFIED:
            raise EvidenceError(
                "void: the deed's own reference does not carry the mark by direct reading: "
                f"{report.reason}"
            )
    return tuple(notes)


def passport_claim(mark: ShownMark, folder: str | Path | None) -> PassportClaim:
    """The claim of an opened passport.

    Args:
        mark: with its seed.
        folder: of the passport, for what is trained; None has only the manifest.

    Raises:
        EvidenceError: the folder's passport is not the one that was opened.
        OptionError: the reading needs the folder.
    """
    if not isinstance(mark.manifest, Manifest) or mark.claimant is None:
        raise OptionError("the opening does not show the passport's seed")
    if folder is None:
        return PassportClaim.of(mark.manifest, mark.claimant)
    claim = PassportClaim.of(folder, mark.claimant)
    unsigned = {"signature": ""}
    if claim.manifest.model_copy(update=unsigned) != mark.manifest.model_copy(update=unsigned):
        raise EvidenceError(f"the passport in {folder} is not the one that the deed commits to")
    return claim


def answer_claim(mark: ShownMark, carriers: Tensor | None) -> AnswerClaim:
    """The claim of an opened mark that is asked for.

    Args:
        mark: opened.
        carriers: for a plug-in: benign samples of the judge's, a model's inputs in [0, 1] (images)
            or [−1, 1), or canonical integers.

    Raises:
        OptionError: carriers are missing, given without need, or of another form.
    """
    if mark.kind == "plugin" and carriers is not None:
        carriers = canonical_carriers(carriers, mark.anchor.plugin_rule.backgrounds.input)
    if mark.manifest is None or mark.claimant is None:
        return batch_claim(mark, carriers)
    if mark.kind == "triggers":
        return claim_of(mark.claimant, triggers=mark.manifest, carriers=carriers)
    return claim_of(mark.claimant, plugin=mark.manifest, carriers=carriers)


def _chosen(
    shown: Sequence[ShownMark],
    *,
    asked: bool,
    kind: str | None,
    carriers: Tensor | None,
    suspect: Any,
) -> ShownMark:
    answering = ("plugin",) if carriers is not None else ("triggers", "plugin")
    # A file of weights cannot be asked without code; what is called can.
    wanted = answering if asked else ("passport",)
    if not asked and callable(suspect):
        wanted = answering if carriers is not None else ("passport", *answering)
    for name in wanted if kind is None else (kind,):
        for mark in shown:
            if mark.kind == name:
                return mark
    raise OptionError(
        f"the opening shows {', '.join(mark.kind for mark in shown)}; of this suspect, "
        f"{' or '.join(wanted if kind is None else (kind,))} could be examined"
    )


def _notes(check: DeedCheck, nonce: str | None, reference: str | Path | None) -> tuple[str, ...]:
    notes = []
    if check.dated.word != "dated":
        notes.append(f"the deed is {check.dated.word}")
    if check.owner is None:
        notes.append("no trust file says whose identity this is")
    if nonce is None:
        notes.append("no nonce was given: the opening could have been made for another dispute")
    if reference is None:
        notes.append(
            "the deed's own model was not given: a deed whose reference is not shown, or does not "
            "carry the mark, is void"
        )
    return tuple(notes)
