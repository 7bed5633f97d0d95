"""The black-box mark's test: do answers match hidden labels more often than by chance?

The null is exact. Every trigger has a label that is uniform on K classes, independent of all images
and of all other labels, and unknown to whoever answers. So each answer matches with probability
1/K *whatever* the suspect did and saw before, and no suspect, adaptive, random or malicious, can
change that. The judge may stop when he likes. What he may not do is ask again, choose the better of
two transcripts, or leave out an answer after comparing it.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modeldeed.errors import OptionError
from modeldeed.results import Verdict
from modeldeed.statistics.budget import BLACK_BOX, Budget
from modeldeed.statistics.logarithms import LN2
from modeldeed.statistics.mixtures import Mixture, absent_mixture, present_mixture
from modeldeed.statistics.planning import triggers_per_batch

__all__ = [
    "ABSENT_ALPHA",
    "LOG_E_ABSENT_THRESHOLD",
    "MOST_REFUSED",
    "MatchTest",
    "least_match_rate",
    "log_e_absent_path",
    "log_e_path",
]

ABSENT_ALPHA = 1e-3
"""How often "not verified" may be wrong about a suspect that matches at q_min or above."""

MOST_REFUSED = Fraction(1, 5)
"""Share of the planned triggers that may be refused; beyond it nothing is decided."""

LOG_E_ABSENT_THRESHOLD = -math.log(ABSENT_ALPHA)
"""What the e-value against the mark must reach, as a natural logarithm."""


def least_match_rate(classes: int) -> float:
    """q_min = (1 + 1/K)/2: a suspect that matches less often does not carry the mark as sold.

    Example:
        >>> least_match_rate(10)
        0.55
    """
    return (classes + 1) / (2 * classes)


class MatchTest:
    """One batch of triggers, answer by answer, until something decides.

    Two e-processes run side by side, and the first that closes decides:

    - `log_e` reaches ln(2^g/α · readings): verified. For an unrelated suspect that ever happens
      with a chance of at most α/2^g, so with 2^g tries of a claimant at most α.
    - `log_e_absent` reaches ln 1000: not verified. For a suspect whose chance to match is q_min or
      more at every trigger, whatever it depends on, that ever happens in at most 1 of 1000.
    - More than a fifth of the planned triggers are refused, or all planned triggers are used up:
      inconclusive.

    Only a match raises the first and only a mismatch the second, so they never close together. A
    refusal uses up a trigger and changes neither. It must be recognized *before* the answer is
    compared with the label (no answer, an error, a constant "I cannot"); then it depends on nothing
    but the past, and the null stays exact. It is counted against the planned number, not the number
    asked so far, so neither an early nor a late burst weighs more; whoever answers can refuse his
    way to inconclusive, never to not verified, and a claimant gains nothing by it.

    Args:
        classes: K, 2 … 2³².
        budget: what the claim pays.
        planned: triggers of the batch, fixed before the first is asked; None takes
            `triggers_per_batch`.

    Attributes:
        matches: answers that matched.
        queries: answers compared.
        refused: triggers that got no answer to compare.
        decision: None as long as the test is open.

    Raises:
        OptionError: an argument is out of range.

    Example:
        >>> test = MatchTest(10)
        >>> while test.decision is None:
        ...     test.update(True)
        >>> test.decision.value, test.queries
        ('verified', 27)
    """

    def __init__(
        self, classes: int, budget: Budget = BLACK_BOX, *, planned: int | None = None
    ) -> None:
        self._present = present_mixture(classes)
        self._absent = absent_mixture(classes)
        self.classes = classes
        self.budget = budget
        self.planned = triggers_per_batch(classes, budget) if planned is None else planned
        if self.planned < 1:
            raise OptionError(f"a match test needs at least one planned trigger, got {planned}")
        self.matches = 0
        self.queries = 0
        self.refused = 0
        self.decision: Verdict | None = None

    @property
    def log_e(self) -> float:
        """Ln of the e-value that the mark is there; 0 at the start."""
        return float(self._present.log_e(self.matches, self.queries))

    @property
    def log_e_absent(self) -> float:
        """Ln of the e-value that the match rate is below q_min; 0 at the start."""
        return float(self._absent.log_e(self.matches, self.queries))

    @property
    def log_e_threshold(self) -> float:
        """Ln of what `log_e` must reach."""
        return self.budget.e_threshold_log2 * LN2

    def update(self, matched: bool) -> None:
        """Take one answer.

        Args:
            matched: whether it was the trigger's label.

        Raises:
            OptionError: the test is closed.
        """
        self._must_be_open()
        self.queries += 1
        self.matches += bool(matched)
        if self.log_e >= self.log_e_threshold:
            self.decision = Verdict.VERIFIED
        elif self.log_e_absent >= LOG_E_ABSENT_THRESHOLD:
            self.decision = Verdict.NOT_VERIFIED
        else:
            self._close_if_used_up()

    def refuse(self) -> None:
        """Take note of a trigger without an answer to compare.

        Raises:
            OptionError: the test is closed.
        """
        self._must_be_open()
        self.refused += 1
        self._close_if_used_up()

    def _must_be_open(self) -> None:
        if self.decision is not None:
            raise OptionError(
                f"this match test closed as {self.decision.value!r} after {self.queries} answers "
                f"and {self.refused} refusals: nothing that comes later can change it"
            )

    def _close_if_used_up(self) -> None:
        too_many = self.refused > MOST_REFUSED * self.planned
        if too_many or self.queries + self.refused >= self.planned:
            self.decision = Verdict.INCONCLUSIVE


def log_e_path(matched: ArrayLike, classes: int) -> NDArray[np.float64]:
    """The whole course of `MatchTest.log_e`, of one transcript or of many.

    Args:
        matched: whether each answer matched, in order along the last axis; refused triggers are
            left out. Shape ``(..., n)``, boolean or 0 and 1.
        classes: K, 2 … 2³².

    Returns:
        ln E after each answer, shape ``(..., n)``.

    Raises:
        OptionError: something else than 0 and 1, no axis, or a number of classes out of range.

    Example:
        >>> (10 ** (log_e_path([True, False, True], 10) / math.log(10))).round(2).tolist()
        [5.67, 2.0, 10.34]
    """
    return _path(present_mixture(classes), matched)


def log_e_absent_path(matched: ArrayLike, classes: int) -> NDArray[np.float64]:
    """The whole course of `MatchTest.log_e_absent`; arguments and result as of `log_e_path`.

    Raises:
        OptionError: as of `log_e_path`.
    """
    return _path(absent_mixture(classes), matched)


def _path(mixture: Mixture, matched: ArrayLike) -> NDArray[np.float64]:
    outcomes = np.asarray(matched)
    if outcomes.ndim == 0 or not np.isin(outcomes, (0, 1)).all():
        raise OptionError(
            f"outcomes of answers are rows of true and false, got an array of {outcomes.dtype} and "
            f"shape {outcomes.shape}"
        )
    queries = np.arange(1, outcomes.shape[-1] + 1)
    return mixture.log_e(np.cumsum(outcomes, -1, dtype=np.int64), queries)
