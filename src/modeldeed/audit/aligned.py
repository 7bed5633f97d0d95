"""The aligned reading of a passport, as an audit sees it: not wired yet.

This is the one place to change when `modeldeed.verify` reads a suspect that was rewritten into the
coordinates of the registered reference: return its reading where the direct one does not verify,
and ``direct`` under this name where it does. Every audit, table and page then has the column.
"""

from __future__ import annotations

from torch import nn

from modeldeed.anchoring.standing import Standing
from modeldeed.audit.records import MarkReading
from modeldeed.passport.claim import PassportClaim

__all__ = ["ALIGNED", "read_aligned"]

ALIGNED = "passport, aligned"


def read_aligned(
    suspect: nn.Module,  # noqa: ARG001 - the seam
    reference: nn.Module,  # noqa: ARG001
    claim: PassportClaim,  # noqa: ARG001
    standing: Standing,  # noqa: ARG001
    direct: MarkReading,  # noqa: ARG001
) -> MarkReading:
    """What is left of a passport if the direct reading may be followed by an aligned one.

    Args:
        suspect: the attacked model.
        reference: the model as it shipped.
        claim: whose bits.
        standing: what the claim's anchor is worth.
        direct: what the direct reading found.

    Returns:
        Not examined.
    """
    return MarkReading(kind=ALIGNED, verdict="not examined")
