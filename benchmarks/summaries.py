"""Means over seeds, with intervals that say how little a few seeds tell."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev

from pydantic import BaseModel, ConfigDict
from scipy.stats import t as student

from modeldeed.errors import OptionError

__all__ = ["Summary", "summarize"]


class Summary(BaseModel):
    """A measure over seeds.

    Attributes:
        mean: over the seeds.
        low: lower end of the 95 % interval of the mean (Student's t); None for one seed.
        high: its upper end.
        lowest: the smallest value.
        highest: the largest value.
        count: number of seeds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mean: float
    low: float | None
    high: float | None
    lowest: float
    highest: float
    count: int


def summarize(values: Sequence[float]) -> Summary:
    """Summarize one value per seed.

    Args:
        values: at least one, finite.

    Returns:
        Mean, interval and range.

    Raises:
        OptionError: there is no value.

    Example:
        >>> summarize([1.0]).low is None
        True
    """
    if not values:
        raise OptionError("a summary needs at least one value")
    mean, count = fmean(values), len(values)
    half: float | None = None
    if count > 1:
        half = float(student.ppf(0.975, count - 1)) * stdev(values) / count**0.5
    return Summary(
        mean=mean,
        low=None if half is None else mean - half,
        high=None if half is None else mean + half,
        lowest=min(values),
        highest=max(values),
        count=count,
    )
