"""The metrics of a card of the experiment ``blackbox-null``, and the card as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import binom, chisquare

from benchmarks.cards import Card
from benchmarks.markdown import signed, table, with_interval
from benchmarks.records import Rate, Record
from benchmarks.summaries import summarize
from modeldeed.statistics import match_interval, randomized_p_values, uniformity_p_value

__all__ = [
    "ALPHA",
    "LOG_ALPHA",
    "BlackboxNull",
    "Control",
    "Cost",
    "NullModel",
    "chi_square_p",
    "ks_p",
    "render",
]

ALPHA = 1e-3
"""E ever reaches its reciprocal for at most this share of strangers' keys, before any payment."""
LOG_ALPHA = -math.log(ALPHA)
LEVEL = 0.01
"""Of each of the two tests of the match counts: this often a correct program would be rejected."""
COST_ALLOWED = 0.003
_DRAWS = 20260
"""Seed of the randomization of p-values, fixed before anything was measured."""
_LEAST_EXPECTED = 5


class NullModel(Record):
    """One unmarked model under keys that no other model is asked with.

    Attributes:
        model: its number.
        seed: of its training.
        accuracy: on the test part.
        classes: K.
        queries: triggers asked for each key: a whole batch.
        matches: of each key.
        largest_log10_e: that any of the transcripts ever reached.
        false_positives: keys whose E ever reached 1/α.
        verified: keys whose E ever reached what a claim must pay.
    """

    model: int
    seed: int
    accuracy: Rate
    classes: int
    queries: int
    matches: tuple[int, ...]
    largest_log10_e: float
    false_positives: int
    verified: int


class Control(Record):
    """One rule of labels or choice of keys, the right one or another.

    Attributes:
        family: of the triggers.
        rule: in words.
        correct: whether it is the program's own.
        trials: pairs of a key and a model.
        matches: of each.
        queries: triggers asked for each.
        classes: K.
        surrogate_rate: match rate of the chosen keys on the model they were chosen on; None where
            none were chosen.
        largest_log10_e: that any of the transcripts ever reached.
        false_positives: pairs whose E ever reached 1/α, without payment.
        verified: pairs whose E ever reached what a claim must pay.
    """

    family: str
    rule: str
    correct: bool
    trials: int
    matches: tuple[int, ...]
    queries: int
    classes: int
    surrogate_rate: Rate | None
    largest_log10_e: float
    false_positives: int
    verified: int

    @property
    def ks_p(self) -> float:
        """Of the matches being binomial."""
        return ks_p(self.matches, self.queries, self.classes)


class Cost(Record):
    """A model with triggers and its twin without.

    Attributes:
        host: the mark's name.
        seed: of both.
        plain_accuracy: of the twin, on the test part.
        accuracy: of the marked model.
        match_rate: share of its triggers that it learned.
    """

    host: str
    seed: int
    plain_accuracy: Rate
    accuracy: Rate
    match_rate: Rate


class BlackboxNull(Record):
    """The metrics of a card.

    Attributes:
        trials: pairs of a stranger's key and an unmarked model.
        alpha: bound of the chance that E ever reaches 1/alpha.
        false_positives: pairs for which it did.
        rate_low: lower end of the exact 95 % interval of their rate.
        rate_high: upper end.
        verified: pairs that reached what a claim must pay.
        match_rate: of all answers; 1/K is expected.
        ks_p: of randomized p-values of the match counts being uniform.
        chi_square_p: of the match counts being binomial.
        level: below which either rejects the program.
        cost_mean: accuracy with triggers minus that without, mean over seeds.
        cost_allowed: that is aimed at.
        models: one by one.
        controls: other rules, and the right one beside them.
        cost: seed by seed.
    """

    trials: int
    alpha: float
    false_positives: int
    rate_low: Rate
    rate_high: Rate
    verified: int
    match_rate: Rate
    ks_p: Rate
    chi_square_p: Rate
    level: Rate
    cost_mean: float
    cost_allowed: float
    models: tuple[NullModel, ...]
    controls: tuple[Control, ...]
    cost: tuple[Cost, ...]

    @classmethod
    def of(
        cls, models: Sequence[NullModel], controls: Sequence[Control], cost: Sequence[Cost]
    ) -> BlackboxNull:
        """The metrics of any number of each."""
        matches = [count for model in models for count in model.matches]
        trials, wrong = len(matches), sum(model.false_positives for model in models)
        low, high = match_interval(wrong, trials) if trials else (0.0, 1.0)
        queries, classes = (models[0].queries, models[0].classes) if models else (1, 2)
        return cls(
            trials=trials,
            alpha=ALPHA,
            false_positives=wrong,
            rate_low=low,
            rate_high=high,
            verified=sum(model.verified for model in models),
            match_rate=sum(matches) / (trials * queries) if trials else 0.0,
            ks_p=ks_p(matches, queries, classes) if trials else 1.0,
            chi_square_p=chi_square_p(matches, queries, classes) if trials else 1.0,
            level=LEVEL,
            cost_mean=summarize(_differences(cost)).mean if cost else 0.0,
            cost_allowed=COST_ALLOWED,
            models=tuple(models),
            controls=tuple(controls),
            cost=tuple(cost),
        )


def ks_p(matches: Sequence[int], queries: int, classes: int) -> float:
    """Whether counts are binomial, by randomized p-values (Kolmogorov–Smirnov)."""
    return uniformity_p_value(
        randomized_p_values(list(matches), queries, seed=_DRAWS, rate=1 / classes)
    )


def chi_square_p(matches: Sequence[int], queries: int, classes: int) -> float:
    """Whether counts are binomial, by their frequencies.

    Counts are pooled from both ends until five are expected in each cell; 1 where that leaves a
    single cell.
    """
    counts = np.bincount(np.asarray(matches), minlength=queries + 1)
    expected = len(matches) * binom.pmf(np.arange(queries + 1), queries, 1 / classes)
    low = int(np.searchsorted(np.cumsum(expected), _LEAST_EXPECTED))
    high = queries - int(np.searchsorted(np.cumsum(expected[::-1]), _LEAST_EXPECTED))
    if low >= high:
        return 1.0
    cells = [
        np.array([part[: low + 1].sum(), *part[low + 1 : high], part[high:].sum()])
        for part in (counts, expected)
    ]
    return float(chisquare(cells[0], cells[1] * (cells[0].sum() / cells[1].sum())).pvalue)


def _differences(cost: Sequence[Cost]) -> list[float]:
    return [cell.accuracy - cell.plain_accuracy for cell in cost]


def render(card: Card) -> str:
    """What strangers' keys did, what broken rules do, and what triggers cost.

    Args:
        card: of this experiment.

    Returns:
        Markdown.
    """
    metrics = BlackboxNull.model_validate(card.metrics)
    parts = [*_null(metrics), *_controls(metrics), *_costs(metrics)]
    return "\n\n".join(parts) or "Nothing was measured."


def _null(metrics: BlackboxNull) -> list[str]:
    if not metrics.models:
        return []
    first = metrics.models[0]
    accuracies = summarize([model.accuracy for model in metrics.models])
    header = (
        "pairs", "false positives at α", "rate, 95 %", "verified", "largest log10 E",
        "match rate", "KS p", "χ² p",
    )  # fmt: skip
    row = (
        str(metrics.trials),
        f"{metrics.false_positives} at {metrics.alpha:g}",
        f"{metrics.rate_low:.5f} … {metrics.rate_high:.5f}",
        str(metrics.verified),
        f"{max(model.largest_log10_e for model in metrics.models):.2f}",
        f"{metrics.match_rate:.4f}",
        f"{metrics.ks_p:.2f}",
        f"{metrics.chi_square_p:.2f}",
    )
    text = (
        f"{len(metrics.models)} models that never saw a trigger (accuracy {accuracies.mean:.3f}), "
        f"each under {len(first.matches)} strangers' keys of its own, {first.queries} triggers "
        f"of {first.classes} classes a key. A false positive: E ever reaches {1 / metrics.alpha:g}."
        " Verified: E ever reaches 2^84, what a claim without a timestamp must pay."
    )
    return [text, table(header, [row])]


def _controls(metrics: BlackboxNull) -> list[str]:
    if not metrics.controls:
        return []
    header = (
        "rule", "family", "pairs", "match rate", "on the model chosen for",
        "false positives at α", "largest log10 E", "verified", "KS p",
    )  # fmt: skip
    rows = [
        (
            control.rule,
            control.family,
            str(control.trials),
            f"{sum(control.matches) / (control.trials * control.queries):.3f}",
            "–" if control.surrogate_rate is None else f"{control.surrogate_rate:.3f}",
            str(control.false_positives),
            f"{control.largest_log10_e:.1f}",
            str(control.verified),
            f"{control.ks_p:.0e}" if control.ks_p < LEVEL else f"{control.ks_p:.2f}",
        )
        for control in metrics.controls
    ]
    return [
        "Would it be noticed if labels were no secret, or keys could be chosen freely? Pairs of a "
        "key and a null model it was not chosen on; the same count, the same tests (for chosen "
        "keys an indication only, since each of them meets several models):",
        table(header, rows),
    ]


def _costs(metrics: BlackboxNull) -> list[str]:
    if not metrics.cost:
        return []
    difference = summarize(_differences(metrics.cost))
    rows = [
        (
            str(cell.seed),
            f"{cell.plain_accuracy:.4f}",
            f"{cell.accuracy:.4f}",
            signed(cell.accuracy - cell.plain_accuracy),
            f"{cell.match_rate:.3f}",
        )
        for cell in metrics.cost
    ]
    mean = with_interval(signed(difference.mean), difference)
    return [
        f"Accuracy that triggers cost on {metrics.cost[0].host}, trained in turns on the same "
        f"batches; mean difference {mean}:",
        table(("seed", "accuracy plain", "with triggers", "difference", "match rate"), rows),
    ]
