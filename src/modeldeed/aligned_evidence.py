"""What an aligned reading found: frozen, part of a report."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["AlignedEvidence", "AlignedLayerReading", "DecoySignatures"]

_Count = Annotated[int, Field(ge=0)]
_Rate = Annotated[float, Field(ge=0, le=1)]


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AlignedLayerReading(_Result):
    """The bits of one layer after alignment.

    Attributes:
        norm: the layer's name in the reference.
        weight: the bound weight's name there.
        source: the suspect's weight that was read in its place, or those that it was multiplied
            from; empty if none was found.
        channels: of the reference.
        found: of them, those with a counterpart in the suspect.
        similarity: mean cosine of the channels that were matched.
        bits: bits that the claim holds here.
        matches: bits that read as claimed.
    """

    norm: str
    weight: str
    source: str
    channels: _Count
    found: _Count
    similarity: float
    bits: _Count
    matches: _Count


class DecoySignatures(_Result):
    """Signatures under keys that are nobody's, read from the same aligned weights.

    Attributes:
        count: N, how many.
        best: the most matches of one of them.
        mean: of their matches.
        rank_p: (1 + #{decoy ≥ claim}) / (N + 1).
    """

    count: _Count
    best: _Count
    mean: float
    rank_p: _Rate


class AlignedEvidence(_Result):
    """L1, aligned: the signature bits after the suspect was put into the reference's coordinates.

    It proves lineage: suspect and registered reference share an ancestor whose channels carry
    these bits.

    Attributes:
        rule: version of the alignment and its probes.
        counts: whether it is evidence; else ``note`` says why not.
        note: what a reader must know; None where there is nothing.
        reading: the versioned rule by which a bit is read.
        bits: n, all bits of the claim.
        matches: how many read as claimed.
        exhibit_matches: bits that the anchor's exhibit reads, aligned likewise; None where this was
            not looked at, as where the reading does not verify.
        choices_log2: log2 of the ways in which the channels that are summed over could have been
            chosen, because some are absent; paid for. 0 without an exhibit.
        unmatched: bits of rows that do not stand where the anchor has them; each counts as a
            mismatch. None where no exhibit was shown.
        order: what the order check found; None likewise.
        log10_p: exact p-value before payment.
        log2_p: the same to base 2.
        log10_p_paid: after payment for grinding and for two readings.
        threshold_log2: the largest log2 p (before payment) that verifies.
        required_matches: matches that the threshold asks for; None if n is too small for any.
        median_margin: over all readable bits, in standard deviations.
        layers: one by one.
        decoys: wrong keys on the same aligned weights.
        probe_seed: the seed of the probes, hexadecimal.
        probe_seconds: for running both models.
        match_seconds: for matching and rewriting.
        decoy_seconds: for the wrong keys.
    """

    level: Literal["L1 aligned"] = "L1 aligned"
    proves: Literal["lineage"] = "lineage"
    rule: Literal["align/v1"] = "align/v1"
    counts: bool
    note: str | None = None
    reading: str
    bits: _Count
    matches: _Count
    exhibit_matches: _Count | None = None
    choices_log2: _Count = 0
    unmatched: _Count | None
    order: str | None
    log10_p: float
    log2_p: float
    log10_p_paid: float
    threshold_log2: float
    required_matches: _Count | None
    median_margin: float | None
    layers: tuple[AlignedLayerReading, ...]
    decoys: DecoySignatures
    probe_seed: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    probe_seconds: float
    match_seconds: float
    decoy_seconds: float
