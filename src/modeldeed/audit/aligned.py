"""The aligned reading of a passport, as an audit sees it.

Who audits his own model asks what would be left of his mark *if* it came to a dispute, with a deed
that is older than the suspect. So an aligned reading is judged here as under such a deed: by the
same alignment, order check and price as `modeldeed.verify`. What is lacking for that, and what is
only assumed, is said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from modeldeed.aligned_evidence import AlignedEvidence
from modeldeed.alignment.match import check_order
from modeldeed.alignment.order import OrderCheck
from modeldeed.anchoring.standing import Standing
from modeldeed.audit.records import MarkReading
from modeldeed.errors import SuspectError
from modeldeed.passport.aligned_examination import AlignedCheck, loaded
from modeldeed.passport.claim import PassportClaim
from modeldeed.passport.evidence.reading import MIN_BITS
from modeldeed.passport.examination import examine_weights
from modeldeed.results import Report, SignatureEvidence
from modeldeed.suspects import open_weights

__all__ = ["ALIGNED", "Lineage", "Unmarked", "bits_read", "lineage_of", "read_aligned"]

ALIGNED = "passport, aligned"
_LOG10_2 = math.log10(2)
_NO_EXHIBIT = "it needs the anchor's exhibit, the weights before marking: unmarked"
_NO_PROBES = "the anchor does not say what inputs the model takes"
_AS_THOUGH = (
    "The aligned reading is judged as though a dated deed, older than the suspect, stood behind "
    "it; without one it is no evidence"
)

Unmarked = str | Path | Mapping[str, Tensor] | nn.Module
"""The anchor's exhibit: the weights before marking."""


@dataclass(frozen=True)
class Lineage:
    """What the aligned readings of an audit rest on.

    Attributes:
        base: digest of the deed, hexadecimal; of the anchor where there is no deed.
        order: of the shipped model's channels; None where it could not be checked.
        exhibit: the model before marking; None likewise.
        missing: why no aligned reading is made; None where it is.
        remark: what is assumed; None where nothing is.
    """

    base: str
    order: OrderCheck | None
    exhibit: nn.Module | None = None
    missing: str | None = None
    remark: str | None = None

    def describe(self) -> dict[str, Any]:
        """Whatever the readings depend on, as JSON holds it."""
        order = self.order
        return {
            "base": self.base,
            "rows in order": None if order is None else f"{order.matched} of {order.bits}",
            "missing": self.missing,
            "remark": self.remark,
        }


def lineage_of(
    claim: PassportClaim,
    shipped: nn.Module,
    unmarked: Unmarked | None,
    *,
    deed: str | None = None,
    dated: bool = False,
) -> Lineage:
    """Check once what all aligned readings rest on.

    Args:
        claim: whose bits.
        shipped: the model as it shipped, the reference.
        unmarked: the anchor's exhibit; None where it is not shown.
        deed: its digest, hexadecimal; None without one.
        dated: whether that deed and the claim's anchor are dated.

    Raises:
        EvidenceError: the exhibit is not the one that the anchor commits to.
        SuspectError: it cannot be read, or the model lacks the claim's tensors.
    """
    anchor = claim.manifest.anchor
    base, remark = deed or anchor.digest, None if dated else _AS_THOUGH
    if unmarked is None or anchor.probes is None:
        why = _NO_EXHIBIT if unmarked is None else _NO_PROBES
        return Lineage(base, None, missing=why)
    exhibit = open_weights(unmarked)
    order = check_order(anchor, claim.model_key(), exhibit, open_weights(shipped), claim.factors)
    if not order.valid:
        return Lineage(base, order, missing=order.reason)
    return Lineage(base, order, loaded(exhibit, [shipped]), remark=remark)


def read_aligned(
    suspect: nn.Module,
    reference: nn.Module,
    claim: PassportClaim,
    standing: Standing,
    direct: MarkReading,
    lineage: Lineage,
) -> MarkReading:
    """What is left of a passport if the direct reading may be followed by an aligned one.

    Args:
        suspect: the attacked model.
        reference: the model as it shipped.
        claim: whose bits.
        standing: what the claim's anchor is worth.
        direct: what the direct reading found.
        lineage: what the reading rests on.

    Returns:
        The direct reading where it verifies or nothing more can be said; else both together, with
        the numbers of the one that found more. ``"unreadable"`` where the suspect cannot be
        aligned.
    """
    if lineage.missing is not None:
        return MarkReading(kind=ALIGNED, verdict="not examined", reason=lineage.missing)
    too_few = direct.total is not None and direct.total < MIN_BITS
    if direct.verdict == "verified" or too_few or not claim.owns:
        return direct.model_copy(update={"kind": ALIGNED, "wrong_keys": ()})
    # No wrong keys: they rank a claim in a dispute, and the exact p-value is what is compared here.
    check = AlignedCheck(lineage.base, suspect, reference, lineage.order, lineage.exhibit, decoys=0)
    try:
        report = examine_weights(suspect, claim, standing, aligned=check)
    except SuspectError as error:
        return MarkReading(kind=ALIGNED, verdict="unreadable", reason=str(error))
    found, read = report.aligned, report.require_signature()
    if found is None:
        return MarkReading(kind=ALIGNED, verdict="unreadable", reason=report.reason)
    shown = found if found.log2_p <= read.log2_p else read
    return bits_read(ALIGNED, report, shown).model_copy(
        update={"extra": {"seconds": found.probe_seconds + found.match_seconds}}
    )


def bits_read(kind: str, report: Report, shown: SignatureEvidence | AlignedEvidence) -> MarkReading:
    """A report's verdict with the numbers of one of its readings.

    Args:
        kind: of the mark.
        report: of an examination of weights.
        shown: the reading whose numbers stand for it.
    """
    return MarkReading(
        kind=kind,
        verdict=report.verdict.value,
        reason=report.reason,
        matches=shown.matches,
        total=shown.bits,
        log10_p=shown.log10_p,
        log10_p_paid=shown.log10_p_paid,
        threshold_log10=shown.threshold_log2 * _LOG10_2,
    )
