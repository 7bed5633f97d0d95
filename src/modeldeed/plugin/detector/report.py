"""What a detector's training reports."""

from __future__ import annotations

from dataclasses import dataclass

from modeldeed.statistics import match_interval

__all__ = ["DetectorReport", "Rate"]


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How many of some samples.

    Attributes:
        hits: those that did.
        samples: all of them.

    Example:
        >>> rate = Rate(hits=0, samples=1000)
        >>> rate.value, round(rate.upper, 4)
        (0.0, 0.0037)
    """

    hits: int
    samples: int

    @property
    def value(self) -> float:
        """Their share."""
        return self.hits / self.samples

    @property
    def upper(self) -> float:
        """The upper end of its exact 95 % interval."""
        return match_interval(self.hits, self.samples)[1]

    @property
    def lower(self) -> float:
        """The lower end."""
        return match_interval(self.hits, self.samples)[0]


@dataclass(frozen=True, kw_only=True)
class DetectorReport:
    """What a detector learned, on carriers and keys that it was not trained or calibrated with.

    Attributes:
        steps: of the optimizer.
        seconds: wall time, with everything that was prepared and measured.
        threshold: that was set.
        success: verification samples that are given their own background.
        success_changed: the same after changes as on the way to an endpoint; see
            `modeldeed.triggers.distortions`.
        benign: benign samples that activate it.
        other_keys: samples on other keys' backgrounds that do.
        look_alikes: benign samples made to look as if they lay on a background that do.
        synthetic: whether benign samples were made up, because none were given.
    """

    steps: int
    seconds: float
    threshold: float
    success: Rate
    success_changed: Rate
    benign: Rate
    other_keys: Rate
    look_alikes: Rate
    synthetic: bool
