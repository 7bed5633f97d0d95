"""Steps 10 to 16: what a claim comes to in the suspect and in models that nobody accuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modeldeed.aligned_evidence import AlignedEvidence
from modeldeed.passport.claim import PassportClaim
from modeldeed.passport.evidence.coloured import seen_weights
from modeldeed.passport.evidence.private_check import decoy_keys
from modeldeed.passport.evidence.reading import load_layers, matches_of
from modeldeed.passport.examination import BranchCheck
from modeldeed.resolving.aligning import carried, second_reading
from modeldeed.resolving.examinee import Examinee, fitting_model
from modeldeed.resolving.judge import Judge
from modeldeed.resolving.reading import (
    JudgedMark,
    ReadMark,
    both_paid,
    presence_of,
    read_mark,
)
from modeldeed.resolving.results import MarkReading, MatrixCell
from modeldeed.resolving.step_log import StepLog
from modeldeed.resolving.taken_claim import TakenClaim
from modeldeed.resolving.verdicts import Carrier, ClaimFindings, Examined
from modeldeed.resolving.words import Order, Presence, Standing, Void
from modeldeed.results import Verdict
from modeldeed.suspects.restored import restore
from modeldeed.timestamping import Dating, order

__all__ = ["ExaminedClaim", "Examiner", "standing_of_dates"]

_WRONG_KEYS = 32


@dataclass
class ExaminedClaim:
    """What was found about a claim that passed steps 2 to 8.

    Attributes:
        claim: as it was taken in.
        findings: what its verdict follows from.
        cells: its row of the matrix, as far as other claims have no part in it.
        marks: the evidence behind the readings of the suspect, mark by mark.
        unreadable: why none of its marks could be examined in the suspect; None if one was.
        aligned: the aligned reading of the suspect; None where none was made.
    """

    claim: TakenClaim
    findings: ClaimFindings
    cells: list[MatrixCell] = field(default_factory=list)
    marks: list[ReadMark] = field(default_factory=list)
    unreadable: str | None = None
    aligned: AlignedEvidence | None = None


class Examiner:
    """Examines claims one by one; no claim sees another.

    Args:
        judge: with models, data and carriers.
        suspect: what is accused.
        others: exhibits, public bases and null models.
        log: of the steps.
    """

    def __init__(
        self, judge: Judge, suspect: Examinee, others: Sequence[Examinee], log: StepLog
    ) -> None:
        self._judge, self._suspect, self._others = judge, suspect, tuple(others)
        self._log = log

    def examine(self, claim: TakenClaim) -> ExaminedClaim:
        """Steps 10 to 16 for one claim."""
        if claim.invalid is not None:
            return ExaminedClaim(claim, ClaimFindings(invalid=claim.invalid))
        kinds = {mark.kind for mark in claim.marks}
        read = [self._suspected(claim, mark) for mark in claim.marks]
        if "passport" not in kinds:
            for step in (10, 12):
                self._log.skipped(step, "the opening shows no passport", claim.name)
        if not kinds - {"passport"}:
            self._log.skipped(13, "the opening shows no mark that is asked for", claim.name)
        readings = [found.reading for found in read]
        cells = [_cell(claim, self._suspect, readings)]
        standing = self._standing(claim)
        examined = tuple(
            Examined(r.level, r.verdict, r.reason) for r in readings if r.verdict is not None
        )
        lineage = second_reading(claim, readings, standing, self._suspect, self._log)
        if lineage.forged is not None:
            claim.invalid = (Void.FORGED, lineage.forged)
            return ExaminedClaim(claim, ClaimFindings(invalid=claim.invalid))
        if lineage.examined is not None:
            examined += (lineage.examined,)
            read = [both_paid(mark) for mark in read]
            cells = [_cell(claim, self._suspect, [mark.reading for mark in read])]
        carriers, notes = [], {}
        for model in self._others:
            cell = self._elsewhere(claim, model)
            cells.append(cell)
            presence, notes[model.name] = self._aligned_elsewhere(claim, model, cell.presence)
            carriers.append(Carrier(model.name, presence, _dates(model, claim)))
        self._log_others(claim, cells[1:], carriers, notes)
        findings = ClaimFindings(None, examined, standing, tuple(carriers), lineage.missing)
        unread = None if examined else (readings[0].reason if readings else "nothing was opened")
        return ExaminedClaim(claim, findings, cells, read, unread, lineage.evidence)

    def cross(self, claim: TakenClaim, reference: Examinee) -> MatrixCell:
        """Step 17: one claim's marks in another claim's reference."""
        return self._elsewhere(claim, reference)

    def _elsewhere(self, claim: TakenClaim, model: Examinee) -> MatrixCell:
        readings = [read_mark(mark, model, self._judge).reading for mark in claim.marks]
        return _cell(claim, model, readings)

    def _suspected(self, claim: TakenClaim, mark: JudgedMark) -> ReadMark:
        """Steps 10, 12 and 13: one mark in the suspect."""
        white = isinstance(mark.claim, PassportClaim)
        found = read_mark(mark, self._suspect, self._judge, branch=self._branch(claim, mark))
        step, note = (10 if white else 13), f"{mark.kind}: {found.reading.reason}"
        if found.reading.verdict is None:
            self._log.unavailable(step, note, claim.name)
        else:
            self._log.done(step, f"{note}{_payment(found.reading)}", claim.name)
        if found.branch is not None:
            said = f"{found.branch.word.value} the claim: {found.branch.reason}"
            self._log.done(12, said, claim.name)
        claim.warnings += [note for note in found.warnings if note not in claim.warnings]
        return found

    def _branch(self, claim: TakenClaim, mark: JudgedMark) -> BranchCheck | None:
        if not isinstance(mark.claim, PassportClaim):
            return None
        data, weights = self._judge.data, self._suspect.weights
        if data is None or weights is None:
            note = "level 2 needs weights, model code and data of the judge's (--model, --data)"
            self._log.skipped(12, note, claim.name)
            return None
        model = fitting_model(weights, self._judge.models)
        if model is None:
            self._log.unavailable(12, "no given architecture fits the suspect", claim.name)
            return None
        return BranchCheck(model, data, self._judge.decoys, self._judge.decoy_seed)

    def _aligned_elsewhere(
        self, claim: TakenClaim, model: Examinee, presence: Presence
    ) -> tuple[Presence, str]:
        """Whether a model that nobody accuses carries the mark, by either reading."""
        if presence is Presence.PRESENT:
            return presence, ""
        found = carried(claim, model)
        if found is None:
            return presence, ""
        verdict, note = found
        return (Presence.PRESENT if verdict is Verdict.VERIFIED else presence), f", {note}"

    def _standing(self, claim: TakenClaim) -> Standing:
        """Step 16."""
        standing = standing_of_dates(claim.dating, self._suspect.dating)
        if standing is Standing.NOT_ASKED:
            self._log.skipped(16, standing.value, claim.name)
        else:
            self._log.done(16, standing.value, claim.name)
        return standing

    def _log_others(
        self,
        claim: TakenClaim,
        cells: Sequence[MatrixCell],
        carriers: Sequence[Carrier],
        notes: Mapping[str, str],
    ) -> None:
        """Steps 14 and 15."""
        models = {model.name: model for model in self._others}
        for step, kinds in ((14, ("null", "base")), (15, ("exhibit", "base"))):
            read = [
                f"{cell.kind} {cell.model}: {carrier.presence.value}{notes[cell.model]}"
                + _age(carrier.dates, models[cell.model])
                for cell, carrier in zip(cells, carriers, strict=True)
                if cell.kind in kinds
            ]
            if read:
                self._log.done(step, "; ".join(read), claim.name)
            elif step == 15:
                self._log.skipped(step, "no exhibit and no public base was given", claim.name)
        if not any(cell.kind in ("null", "base") for cell in cells):
            note = self._wrong_keys(claim)
            self._log.done(14, f"no null model and no public base was given; {note}", claim.name)

    def _wrong_keys(self, claim: TakenClaim) -> str:
        """Decoy keys on the suspect, where there is nothing better to compare with."""
        weights = self._suspect.weights
        passports = [m.claim for m in claim.marks if isinstance(m.claim, PassportClaim)]
        readable = any(cell_read for cell_read in passports) and weights is not None
        if not readable or weights is None:
            return "answers to keyed labels need none: their null is exact"
        anchor = passports[0].manifest.anchor
        try:
            restored = restore(weights, anchor.targets)
            layers = load_layers(*seen_weights(restored, anchor.targets, passports[0].factors))
        except ValueError:
            return "wrong keys could not be read either"
        keys = decoy_keys(self._judge.decoy_seed, _WRONG_KEYS)
        best = max(matches_of(layers, key, rows=anchor.passport_rule.rows) for key in keys)
        bits = sum(target.bits for target in anchor.targets)
        return f"the best of {_WRONG_KEYS} wrong keys matches {best} of {bits} bits"


def standing_of_dates(deed: Dating, suspect: Dating) -> Standing:
    """How a deed's date lies to the suspect's earliest proven existence."""
    if suspect.earliest is None:
        return Standing.NOT_ASKED
    return {
        "before": Standing.BEFORE,
        "after": Standing.LATER,
        "unknown": Standing.OPEN,
    }[order(deed, suspect)]


def _dates(model: Examinee, claim: TakenClaim) -> Order | None:
    """Whether another model is proven older than a deed; None where nothing dates the model."""
    if model.kind == "null":
        return None
    # An undated exhibit is proven older than nothing: anybody could have copied it since.
    return (
        Order.AFTER if model.dating.earliest is None else Order(order(model.dating, claim.dating))
    )


def _age(dates: Order | None, model: Examinee) -> str:
    if dates is None:
        return ""
    if model.dating.earliest is None:
        return ", undated"
    return {
        Order.BEFORE: ", older than the deed",
        Order.AFTER: ", not older than the deed",
        Order.UNKNOWN: ", order to the deed unknown",
    }[dates]


def _cell(claim: TakenClaim, model: Examinee, readings: Sequence[MarkReading]) -> MatrixCell:
    return MatrixCell(
        claim=claim.name,
        model=model.name,
        kind=model.kind,
        presence=presence_of(readings),
        readings=tuple(readings),
    )


def _payment(reading: MarkReading) -> str:
    if reading.log2_p is None or reading.log2_p_paid is None:
        return ""
    return f"; log2 p {reading.log2_p:.1f}, after payment {reading.log2_p_paid:.1f}"
