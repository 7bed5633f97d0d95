"""Who reads what is left of a mark: one examiner for each, all of the same form."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from modeldeed.anchoring.standing import Standing
from modeldeed.attacks import Preprocessed
from modeldeed.audit.aligned import ALIGNED, Lineage, bits_read, read_aligned
from modeldeed.audit.records import MarkReading
from modeldeed.digests import sha256
from modeldeed.errors import SuspectError
from modeldeed.passport.claim import PassportClaim
from modeldeed.passport.evidence.coloured import seen_weights
from modeldeed.passport.evidence.reading import load_layers, matches_of
from modeldeed.passport.examination import WHITE_BOX, examine_weights
from modeldeed.querying.answer_claim import AnswerClaim
from modeldeed.querying.query import examine_answers
from modeldeed.results import Report
from modeldeed.statistics import BLACK_BOX, Budget
from modeldeed.suspects import open_weights
from modeldeed.suspects.answering.preparation import Prepare, described
from modeldeed.suspects.restored import restore

__all__ = ["PASSPORT", "AnswerExaminer", "Examiner", "PassportExaminer"]

PASSPORT = "passport"


class Examiner(Protocol):
    """Reads one mark, or several ways of reading it.

    For an audit with several processes it must be picklable.
    """

    def describe(self) -> dict[str, dict[str, Any]]:
        """By kind of mark: whatever its readings depend on, as JSON holds it."""
        ...

    def examine(self, model: nn.Module, shipped: nn.Module) -> tuple[MarkReading, ...]:
        """Read what is left.

        Args:
            model: attacked, in evaluation mode; not to be changed.
            shipped: the model as it was, which is the same object where nothing was done.

        Returns:
            One reading for each kind that `describe` names, in its order.
        """
        ...


@dataclass(frozen=True)
class PassportExaminer:
    """Reads a passport's bits, directly and, where that does not verify, after alignment.

    Attributes:
        claim: whose bits.
        standing: what its anchor is worth.
        lineage: what an aligned reading rests on.
        wrong_keys: wrong keys that are held against the model as it shipped.
    """

    claim: PassportClaim
    standing: Standing
    lineage: Lineage
    wrong_keys: int = 999

    def describe(self) -> dict[str, dict[str, Any]]:
        """Anchor, form, bits and budget."""
        anchor = self.claim.manifest.anchor
        rule = anchor.passport_rule
        described = {
            "anchor": anchor.digest,
            "bits": sum(target.bits for target in anchor.targets),
            "rows": rule.rows,
            "reading": rule.reading_name,
            "wrong_keys": self.wrong_keys,
            **_budget(self.standing.budget(WHITE_BOX)),
        }
        return {PASSPORT: described, ALIGNED: {"anchor": anchor.digest, **self.lineage.describe()}}

    def examine(self, model: nn.Module, shipped: nn.Module) -> tuple[MarkReading, ...]:
        """The direct reading, and the aligned one."""
        # A change of what is asked leaves the weights, and whoever has these takes them out of it.
        held = model.model if isinstance(model, Preprocessed) else model
        with _quietly():
            direct = self._direct(held)
            aligned = read_aligned(held, shipped, self.claim, self.standing, direct, self.lineage)
        if model is shipped:
            direct = direct.model_copy(update={"wrong_keys": self._wrong(model)})
        return direct, aligned

    def _direct(self, model: nn.Module) -> MarkReading:
        try:
            report = examine_weights(model, self.claim, self.standing)
        except SuspectError as error:
            return MarkReading(kind=PASSPORT, verdict="unreadable", reason=str(error))
        return bits_read(PASSPORT, report, report.require_signature())

    def _wrong(self, model: nn.Module) -> tuple[int, ...]:
        """Matches under keys that nobody owns; the same keys for every audit."""
        anchor = self.claim.manifest.anchor
        weights = restore(open_weights(model), anchor.targets)
        layers = load_layers(*seen_weights(weights, anchor.targets, self.claim.factors))
        keys = (sha256(b"modeldeed/audit/wrong key", n.to_bytes(8, "big")) for n in
                range(self.wrong_keys))  # fmt: skip
        return tuple(matches_of(layers, key, rows=anchor.passport_rule.rows) for key in keys)


@dataclass(frozen=True)
class AnswerExaminer:
    """Asks for a mark that is in answers: triggers, or a plug-in.

    Attributes:
        kind: ``"triggers"`` or ``"plug-in"``.
        claim: whose questions.
        standing: what its anchor is worth.
        prepare: makes a model's input of canonical integers; None takes what the claim knows.
        batch: number of the one that is asked.
    """

    kind: str
    claim: AnswerClaim
    standing: Standing
    prepare: Prepare | None = None
    batch: int = 0

    def describe(self) -> dict[str, dict[str, Any]]:
        """Anchor, rule and budget."""
        prepare = self.prepare or self.claim.prepare
        return {
            self.kind: {
                "anchor": self.claim.manifest.anchor.digest,
                "rule": self.claim.rule_digest,
                "family": self.claim.family,
                "batch": self.batch,
                "prepared": None if prepare is None else described(prepare),
                **_budget(self.standing.budget(BLACK_BOX)),
            }
        }

    def examine(self, model: nn.Module, shipped: nn.Module) -> tuple[MarkReading, ...]:  # noqa: ARG002
        """Ask until the evidence decides."""
        try:
            report = examine_answers(
                model, self.claim, self.standing, batches=(self.batch,), prepare=self.prepare
            )
        except SuspectError as error:
            return (MarkReading(kind=self.kind, verdict="unreadable", reason=str(error)),)
        return (self._reading(report),)

    def _reading(self, report: Report) -> MarkReading:
        answers = report.answers
        if answers is None or answers.log10_e is None:
            raise AssertionError("a sequential query has an e-value")
        budget = self.standing.budget(BLACK_BOX)
        log10_p = min(0.0, -answers.log10_e)
        return MarkReading(
            kind=self.kind,
            verdict=report.verdict.value,
            reason=report.reason,
            matches=answers.matches,
            total=answers.queries,
            log10_p=log10_p,
            log10_p_paid=budget.paid(log10_p / _LOG10_E) * _LOG10_E,
            log10_e=answers.log10_e,
            threshold_log10=-answers.threshold_log10,
        )


_LOG10_E = math.log10(math.e)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep back what an examination logs: it would say the same of every attacked copy."""
    log = logging.getLogger(examine_weights.__module__)

    def nothing(_record: logging.LogRecord) -> bool:
        return False

    log.addFilter(nothing)
    try:
        yield
    finally:
        log.removeFilter(nothing)


def _budget(budget: Budget) -> dict[str, Any]:
    return {"alpha_log2": budget.alpha_log2, "grinding_log2": budget.grinding_log2}
