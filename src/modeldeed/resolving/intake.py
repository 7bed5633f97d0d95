"""Steps 2 to 8: what is looked at of a claim before the suspect is read for it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from modeldeed.alignment.match import check_order
from modeldeed.deed import Deed, Opening
from modeldeed.deed.checking import model_word
from modeldeed.deed.dates import Times, deed_times, renewal_problem
from modeldeed.deed.recomputing import ShownMark, shown_marks
from modeldeed.errors import EvidenceError, OptionError, SuspectError
from modeldeed.passport.claim import PassportClaim
from modeldeed.passport.evidence.reading import MIN_BITS
from modeldeed.resolving.claim_folder import ClaimFolder
from modeldeed.resolving.examinee import Examinee
from modeldeed.resolving.judge import Judge
from modeldeed.resolving.opened_marks import judged
from modeldeed.resolving.reading import JudgedMark, presence_of, read_mark
from modeldeed.resolving.results import Dated, MarkReading, MatrixCell
from modeldeed.resolving.sentences import dated_words
from modeldeed.resolving.step_log import StepLog
from modeldeed.resolving.taken_claim import TakenClaim
from modeldeed.resolving.words import Void
from modeldeed.results import Verdict
from modeldeed.suspects import open_weights
from modeldeed.timestamping import Dating, Stamp, effective, order

__all__ = ["Intake"]

_T = TypeVar("_T")


class _RefusedError(Exception):
    """A step that does not hold."""

    def __init__(self, number: int, void: Void, reason: str) -> None:
        super().__init__(reason)
        self.number, self.void, self.reason = number, void, reason


class Intake:
    """Takes claims in, one by one; no claim sees another.

    Args:
        judge: with trust and nonce.
        suspect_digest: openings are bound to it.
        log: of the steps.
    """

    def __init__(self, judge: Judge, suspect_digest: str, log: StepLog) -> None:
        self._judge, self._suspect, self._log = judge, suspect_digest, log

    def take(self, folder: ClaimFolder, name: str) -> TakenClaim:
        """Steps 2 to 8 for one claim; what fails makes it void and ends them."""
        claim = TakenClaim(name, _name_of(folder), folder)
        if note := folder.unknown():
            claim.warnings.append(note)
        try:
            deed = self._read_deed(claim)
            self._date(claim, deed)
            self._known_key(claim, deed)
            shown = self._open(claim, deed)
            self._anchors(claim, deed, shown)
            self._reference(claim, deed)
            self._order(claim)
            self._own_reading(claim)
        except _RefusedError as refusal:
            # Where the judge keeps his files is nobody's business.
            reason = refusal.reason.replace(f"{folder.path}{os.sep}", "")
            self._log.failed(refusal.number, reason, name)
            claim.invalid = (refusal.void, reason)
        return claim

    def _read_deed(self, claim: TakenClaim) -> Deed:
        _try(2, Void.ALTERED, claim.folder.deed_file)
        deed = _try(3, Void.ALTERED, claim.folder.deed)
        claim.deed, claim.digest = deed, deed.digest
        claim.countersignatures = _try(2, Void.ALTERED, claim.folder.countersignatures)
        self._log.done(3, f"signature and form hold; digest {deed.digest[:16]}…", claim.name)
        return deed

    def _date(self, claim: TakenClaim, deed: Deed) -> None:
        times = deed_times(deed, self._judge.trust)
        bad = [look.reason for look in times.looks if look.word == "invalid"]
        if bad:
            raise _RefusedError(
                4, Void.FORGED, f"a timestamp of the deed does not verify: {bad[0]}"
            )
        if problem := renewal_problem(deed, self._judge.trust):
            raise _RefusedError(4, Void.FORGED, problem)
        claim.dating = times.dating
        self._log.done(4, _times_note(times), claim.name)
        not_counted = sum(look.word == "not counted" for look in times.looks)
        if not_counted:
            claim.warnings.append(
                f"timestamps of authorities that are not trusted here, not counted: {not_counted}"
            )
        if times.dating.word != "dated":
            claim.warnings.append(f"the deed is {times.dating.word}")

    def _known_key(self, claim: TakenClaim, deed: Deed) -> None:
        trust = self._judge.trust
        revocation = trust.revocation(deed.identity, claim.dating)
        if revocation is not None:
            raise _RefusedError(2, Void.FORGED, revocation.problem("the deed"))
        name = trust.owner_name(deed.identity)
        known = f"the key of {name}" if name else "an identity that the trust file does not name"
        self._log.done(2, f"within limits; {known}, not revoked", claim.name)

    def _open(self, claim: TakenClaim, deed: Deed) -> tuple[ShownMark, ...]:
        data = _try(5, Void.ALTERED, claim.folder.opening)

        def opened() -> tuple[ShownMark, ...]:
            opening = Opening.from_json(data)
            return shown_marks(deed, opening, suspect=self._suspect, nonce=self._judge.nonce)

        shown = _try(5, Void.FORGED, opened)
        kinds = ", ".join(mark.entry.kind for mark in shown)
        self._log.done(5, f"bound to this suspect and nonce; commitments hold: {kinds}", claim.name)
        left = len(deed.marks) - len(shown)
        if left:
            claim.warnings.append(f"marks of the deed that the opening does not show: {left}")
        return shown

    def _anchors(self, claim: TakenClaim, deed: Deed, shown: tuple[ShownMark, ...]) -> None:
        made: list[JudgedMark] = []
        passport = _try(6, Void.ALTERED, claim.folder.passport)
        for mark in shown:
            one, stamp, notes = _try(
                6, Void.FORGED, partial(judged, mark, deed, self._judge, passport)
            )
            if stamp is not None:
                _require_earlier(stamp, claim.dating)
            claim.warnings += [note for note in notes if note not in claim.warnings]
            made.append(one)
            budget = one.budget
            self._log.done(
                9,
                f"{one.kind}: alpha 2^-{budget.alpha_log2}, pays for 2^{budget.grinding_log2} "
                "tries, the stricter of deed and judge",
                claim.name,
            )
        claim.marks = tuple(made)
        word = "anchored" if claim.anchored else "unanchored: pays for 2^64 tries"
        self._log.done(6, f"key, bits and questions follow from the anchor; {word}", claim.name)

    def _reference(self, claim: TakenClaim, deed: Deed) -> None:
        path = _try(7, Void.ALTERED, claim.folder.reference)
        if path is None:
            raise _RefusedError(
                7, Void.ALTERED, "the deed's own model, its reference, is not shown"
            )
        word = _try(7, Void.ALTERED, lambda: model_word(deed.statement, path))
        if word == "another model":
            raise _RefusedError(
                7, Void.ALTERED, "the reference is another model than the deed is about"
            )
        claim.reference = Examinee(claim.name, "reference", path, self._judge.models)
        self._log.done(7, f"the reference is the deed's: {word}", claim.name)

    def _order(self, claim: TakenClaim) -> None:
        exhibit = _try(6, Void.ALTERED, claim.folder.unmarked)
        passports = [m.claim for m in claim.marks if isinstance(m.claim, PassportClaim)]
        if exhibit is None or not passports or claim.reference is None:
            why = "not shown" if exhibit is None else "of no passport"
            note = f"order of channels not checked: the anchor's exhibit is {why}"
            self._log.skipped(6, note, claim.name)
            return
        reference = claim.reference.weights
        claim.exhibit = Examinee(claim.name, "exhibit", exhibit, self._judge.models)
        for passport in passports:
            assert reference is not None  # a file of weights
            checked = _try(
                6,
                Void.FORGED,
                partial(
                    check_order,
                    passport.manifest.anchor,
                    passport.model_key(),
                    _try(6, Void.ALTERED, partial(open_weights, exhibit)),
                    reference,
                    passport.factors,
                ),
            )
            claim.order = checked.reason
            if not checked.valid:
                raise _RefusedError(6, Void.FORGED, checked.reason)
            claim.orders[passport.manifest.anchor.digest] = checked
            alike = min(layer.median_similarity for layer in checked.layers)
            note = f"{checked.reason}; median cosine with it at least {alike:.2f} in every layer"
            self._log.done(6, note, claim.name)

    def _own_reading(self, claim: TakenClaim) -> None:
        if claim.reference is None:
            return
        held, readings = [], []
        for mark in claim.marks:
            reading = read_mark(mark, claim.reference, self._judge).reading
            readings.append(reading)
            if self._holds(claim, reading):
                held.append(mark)
        if not held:
            reason = f"its own reference does not carry its {readings[0].mark}"
            raise _RefusedError(8, Void.FORGED, f"{reason}: {readings[0].reason}")
        claim.marks = tuple(held)
        claim.own = MatrixCell(
            claim=claim.name,
            model=claim.name,
            kind="reference",
            presence=presence_of(readings),
            readings=tuple(readings),
        )

    def _holds(self, claim: TakenClaim, reading: MarkReading) -> bool:
        """Whether a mark may be looked for elsewhere, as far as its own reference says.

        Weights that do not carry their passport make the deed void. A model that does not answer
        as its trigger set or plug-in says loses that mark, whether or not the judge could ask it.
        """
        note = f"{reading.mark}: {reading.reason}"
        if reading.verdict is None:
            self._log.unavailable(8, note, claim.name)
            return True
        few = reading.level == "L1" and reading.trials < MIN_BITS
        undecided = reading.level == "L3" and reading.verdict is Verdict.INCONCLUSIVE
        if reading.verdict is Verdict.VERIFIED or few or undecided:
            self._log.done(8, note, claim.name)
            return True
        if reading.level == "L1":
            reason = f"its own reference does not carry its {reading.mark}: {reading.reason}"
            raise _RefusedError(8, Void.FORGED, reason)
        claim.warnings.append(
            f"its own reference does not answer as its {reading.mark} says; that mark is left out"
        )
        return False


def _name_of(folder: ClaimFolder) -> str:
    """What a claim is sorted by as long as its deed is not read."""
    try:
        return hashlib.sha256(folder.deed_file()).hexdigest()
    except EvidenceError:
        return "0" * 64


def _try(number: int, void: Void, step: Callable[[], _T]) -> _T:
    """Take a step of which anything can be wrong: a claimant handed it in."""
    try:
        return step()
    except (EvidenceError, OptionError, SuspectError) as error:
        raise _RefusedError(number, void, _one_sentence(error)) from error


def _one_sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    return "".join(c if c.isprintable() else "?" for c in text)[:500].rstrip(".")


def _times_note(times: Times) -> str:
    dating = times.dating
    found = [look.authority for look in times.looks if look.word == "verified"]
    return (
        f"{dated_words(Dated.of(dating))}; tokens that verify: {len(found)} of {len(times.looks)}"
    )


def _require_earlier(stamp: Stamp, deed: Dating) -> None:
    if order(effective([stamp]), deed) == "after":
        raise _RefusedError(6, Void.FORGED, "the anchor is dated after the deed that names it")
