"""What a retrofit reports."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EmbedReport", "Retrofit"]


@dataclass(frozen=True, kw_only=True)
class Retrofit:
    """What every retrofit says of itself.

    Attributes:
        steps: optimizer steps.
        original_steps: of the model's own training, as the caller said; None if not.
        samples: in all steps together, without triggers.
        seconds: wall time without evaluation.
        public_before: accuracy of the model before; None without ``evaluate``.
        public_after: of the marked model.
        triggers_before: share of the triggers that the model answers with their labels before;
            None without triggers.
        triggers_after: the same of the marked model.
    """

    steps: int
    original_steps: int | None
    samples: int
    seconds: float
    public_before: float | None = None
    public_after: float | None = None
    triggers_before: float | None = None
    triggers_after: float | None = None

    @property
    def step_fraction(self) -> float | None:
        """Steps over those of the original training."""
        return None if self.original_steps is None else self.steps / self.original_steps

    @property
    def accuracy_cost(self) -> float | None:
        """Accuracy the public branch lost; negative if it gained."""
        if self.public_before is None or self.public_after is None:
            return None
        return self.public_before - self.public_after


@dataclass(frozen=True, kw_only=True)
class EmbedReport(Retrofit):
    """What a passport's retrofit did and what it cost.

    Attributes:
        bits: n.
        matches: bits that read as claimed.
        median_margin: of the bits, in standard deviations of an unrelated weight.
        private_before: of the private branch before: chance, and a check of the evaluation.
        private_after: of the private branch of the marked model.
    """

    bits: int
    matches: int
    median_margin: float | None
    private_before: float | None = None
    private_after: float | None = None
