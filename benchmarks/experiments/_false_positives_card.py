"""The metrics of a false-positives card, what its test can see, and the card as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from scipy.optimize import brentq
from scipy.stats import binom, combine_pvalues, kstwo

from benchmarks.cards import Card
from benchmarks.markdown import table
from benchmarks.records import Record
from modeldeed.statistics import match_interval

__all__ = [
    "LEVEL",
    "Control",
    "FalsePositives",
    "ModelCell",
    "critical_distance",
    "detectable_rate",
    "render",
]

LEVEL = 0.01
"""Of all tests of uniformity together: this often a correct program would be rejected."""
POWER = 0.9

_P = Annotated[float, Field(ge=0, le=1)]
_Count = Annotated[int, Field(ge=0)]


class ModelCell(Record):
    """One model under many wrong keys.

    Attributes:
        model: its name.
        seed: of its training and of the wrong owners.
        accuracy: on the test part; None for a network that was never trained.
        bits: n of the claims.
        required: matches that verify.
        trials: wrong keys.
        false_positives: keys that were verified.
        most_matches: of the best key.
        mean_matches: over the keys; n/2 is expected, or less where bits cannot be read.
        side: of the test of uniformity; ``"one-sided"`` where a reading can be exactly zero.
        ks_p: of the randomized p-values being uniform (two-sided) or at least as large as uniform.
        readable_ks_p: two-sided, of matches among as many bits as could be read, which is exact
            however many those are; None where all can.
        plain_ks_p: two-sided, of p-values that were not randomized; small for a correct program.
    """

    model: str
    seed: int
    accuracy: _P | None
    bits: _Count
    required: _Count
    trials: _Count
    false_positives: _Count
    most_matches: _Count
    mean_matches: float
    side: Literal["two-sided", "one-sided"]
    ks_p: _P
    readable_ks_p: _P | None
    plain_ks_p: _P

    @property
    def tests(self) -> list[float]:
        """The p-values of its tests of uniformity."""
        return [p for p in (self.ks_p, self.readable_ks_p) if p is not None]


class Control(Record):
    """One way of reading, correct or deliberately broken, on the same model and the same keys.

    Attributes:
        reader: what it does.
        correct: whether it is the program's own rule, counted by other code.
        trials: wrong keys.
        mean_rate: matches over bits, the mean over the keys.
        ks_p: two-sided.
    """

    reader: str
    correct: bool
    trials: _Count
    mean_rate: _P
    ks_p: _P


class FalsePositives(Record):
    """The metrics of a false-positives card.

    Attributes:
        trials: wrong keys in all, each read from one model.
        false_positives: how many were verified.
        rate_upper: end of the exact two-sided 95 % interval of their rate.
        ks_p: the smallest p-value of all tests of uniformity times their number, at most 1
            (Bonferroni).
        ks_p_smallest: before that.
        ks_p_fisher: all models' sharpest tests together (Fisher); their keys are independent.
        level: below which ``ks_p`` would reject the program; fixed beforehand.
        critical_distance: largest gap between distribution functions that one model's test lets
            pass at the level of all together.
        detectable_rate: match rate of a bit that it rejects with a chance of at least 0.9.
        models: each model.
        controls: broken readers, which the test must reject, and the correct one beside them.
    """

    trials: _Count
    false_positives: _Count
    rate_upper: _P
    ks_p: _P
    ks_p_smallest: _P
    ks_p_fisher: _P
    level: _P
    critical_distance: _P
    detectable_rate: _P
    models: tuple[ModelCell, ...]
    controls: tuple[Control, ...]

    @classmethod
    def of(cls, models: Sequence[ModelCell], controls: Sequence[Control]) -> FalsePositives:
        """The metrics of at least one model and any number of controls."""
        trials = sum(cell.trials for cell in models)
        wrong = sum(cell.false_positives for cell in models)
        ps = [p for cell in models for p in cell.tests]
        sharpest = [cell.tests[-1] for cell in models]
        weakest = min(models, key=lambda cell: cell.trials)
        distance = critical_distance(weakest.trials, LEVEL / len(ps))
        return cls(
            trials=trials,
            false_positives=wrong,
            rate_upper=match_interval(wrong, trials)[1],
            ks_p=min(1.0, min(ps) * len(ps)),
            ks_p_smallest=min(ps),
            ks_p_fisher=float(combine_pvalues(sharpest, "fisher").pvalue),
            level=LEVEL,
            critical_distance=distance,
            detectable_rate=detectable_rate(weakest.trials, weakest.bits, distance),
            models=tuple(models),
            controls=tuple(controls),
        )


def critical_distance(trials: int, level: float) -> float:
    """The Kolmogorov–Smirnov distance of ``trials`` values from which the test rejects."""
    return float(kstwo.isf(level, trials))


def detectable_rate(trials: int, bits: int, distance: float) -> float:
    """The smallest match rate above ½ that is rejected with a chance of at least 0.9.

    Distribution functions of the counts at the two rates are apart by some gap, and that of the
    sample is within √(ln(1/0.1) / 2N) of its own with a chance of 0.9 (Dvoretzky, Kiefer,
    Wolfowitz, Massart). So a gap of the critical distance and that much more is rejected.

    Returns:
        A rate in (½, 1]; 1 where no rate is certain to be seen.
    """
    wanted = distance + math.sqrt(math.log(1 / (1 - POWER)) / (2 * trials))
    counts = np.arange(bits + 1)

    def missing(rate: float) -> float:
        gaps = np.asarray(binom.cdf(counts, bits, 0.5) - binom.cdf(counts, bits, rate))
        return float(gaps.max()) - wanted

    return float(brentq(missing, 0.5, 1.0)) if missing(1.0) > 0 else 1.0


_HEADER = (
    "model",
    "accuracy",
    "bits",
    "keys",
    "verified",
    "most matches",
    "needed",
    "KS p",
    "side",
)


def render(card: Card) -> str:
    """The models, the readers, and what the tests add up to.

    Args:
        card: a false-positives card.

    Returns:
        Two Markdown tables and what they say.
    """
    metrics = FalsePositives.model_validate(card.metrics)
    models = table(_HEADER, [_row(cell) for cell in metrics.models])
    readers = table(
        ("reader", "match rate", "KS p"),
        [(c.reader, f"{c.mean_rate:.4f}", _short(c.ks_p)) for c in metrics.controls],
    )
    return f"{models}\n\n{_sums(metrics)}\n\n{readers}\n\n{_LEGEND}"


def _row(cell: ModelCell) -> tuple[str, ...]:
    return (
        cell.model,
        "–" if cell.accuracy is None else f"{cell.accuracy:.3f}",
        str(cell.bits),
        f"{cell.trials:,}",
        str(cell.false_positives),
        str(cell.most_matches),
        str(cell.required),
        _short(cell.ks_p) + (" (one-sided)" if cell.side == "one-sided" else ""),
        "–" if cell.readable_ks_p is None else _short(cell.readable_ks_p),
    )


def _short(p: float) -> str:
    if p < 1e-300:
        return "< 1e-300"
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"


def _sums(metrics: FalsePositives) -> str:
    return (
        f"**{metrics.false_positives} of {metrics.trials:,} wrong keys verified** (at most "
        f"{metrics.rate_upper:.1e} of them with 95 % confidence). Uniformity of randomized "
        f"p-values: smallest KS p {_short(metrics.ks_p_smallest)}, times their number "
        f"{_short(metrics.ks_p)}, all together by Fisher {_short(metrics.ks_p_fisher)}; below "
        f"{metrics.level:g} the program would be rejected. On one model, a bit that matched with "
        f"a chance of {metrics.detectable_rate:.4f} instead of ½ would be noticed with a chance "
        f"of at least {POWER:g}."
    )


_LEGEND = (
    "Every key is that of another owner for the same anchor, derived as his own would be. Needed: "
    "matches that verify at the default budget. One-sided: a reading can be exactly zero there "
    "and counts as a mismatch, so that honest p-values are larger than uniform; among the bits "
    "that can be read they are uniform again. Second table: the program's rule, counted again by "
    "slow code, and readers that each break one condition of exactness, all on the same model and "
    "keys."
)
