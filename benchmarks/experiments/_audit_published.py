"""The published judge as an examiner of an audit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from modeldeed.attacks.forgery.published import LEAST_MATCH_RATE, PublishedClaim, examine
from modeldeed.audit import MarkReading
from modeldeed.data import Dataset
from modeldeed.digests import tensor_root
from modeldeed.errors import OptionError

__all__ = ["PUBLISHED", "PublishedExaminer"]

PUBLISHED = "published rule"


@dataclass(frozen=True)
class PublishedExaminer:
    """Judges by the published rule: accuracy of the private branch, and matching bits.

    Attributes:
        claim: the genuine owner's.
        dataset: whose test part the judge has.
    """

    claim: PublishedClaim
    dataset: Dataset

    def describe(self) -> dict[str, dict[str, Any]]:
        """Digest of the claim's passports, and the rule."""
        passports = {str(n): p for n, p in enumerate(self.claim.passports)}
        return {PUBLISHED: {"claim": tensor_root(passports).hex(), "least_rate": LEAST_MATCH_RATE}}

    def examine(self, model: nn.Module, shipped: nn.Module) -> tuple[MarkReading, ...]:  # noqa: ARG002
        """Whether the published judge accepts."""
        total = sum(len(bits) for bits in self.claim.bits)
        try:
            result = examine(model, self.claim, self.dataset.x_test, self.dataset.y_test)
        except (OptionError, AttributeError, RuntimeError, ValueError) as error:
            # A rewritten model has other layers; the published judge knows no way to read them.
            return (MarkReading(kind=PUBLISHED, verdict="unreadable", reason=str(error)[:300]),)
        return (
            MarkReading(
                kind=PUBLISHED,
                verdict="verified" if result.accepts else "not verified",
                reason=f"private accuracy {result.private_accuracy:.3f}, match rate "
                f"{result.match_rate:.3f}",
                matches=round(result.match_rate * total),
                total=total,
                extra={"private_accuracy": result.private_accuracy},
            ),
        )
