"""The metrics of an alignment card, and the card as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Annotated

from pydantic import Field

from benchmarks.cards import Card
from benchmarks.experiments._alignment_rewrites import Kind
from benchmarks.markdown import table
from benchmarks.records import Rate, Record

__all__ = ["Alignments", "LeftOut", "Measured", "Sized", "render"]

_Count = Annotated[int, Field(ge=0)]


class Measured(Record):
    """One rewrite of one host under one seed.

    Attributes:
        host: its name.
        seed: of start, order, owner and rewrite.
        rewrite: its name.
        kind: what is to be expected.
        done: the attacks that it was made of.
        bits: n of the claim.
        held_back: bits of rows that the order check counts as mismatches.
        readable: whether the direct reading finds all tensors in their shapes.
        matches_before: bits that read as claimed directly; 0 where nothing is readable.
        matches_after: the same after alignment.
        matches_without: bits that read directly if the weights are changed as here and nothing is
            rewritten: what a perfect alignment would give back; None where nothing changes weights.
        log2_p_before: of the direct reading.
        log2_p_after: of the aligned one.
        channels: of bound layers, each weight once.
        found: of them, those that were given a counterpart.
        plain_accuracy: of the network before it was marked, on the test part.
        accuracy: of the marked network.
        rewritten_accuracy: of the suspect.
        output_difference: largest difference of the suspect's outputs on test samples over the
            largest output; None where they are not finite.
        probe_seconds: for running both models on the probes.
        match_seconds: for matching and rewriting.
        rewrite_seconds: for making the suspect.
    """

    host: str
    seed: int
    rewrite: str
    kind: Kind
    done: tuple[str, ...]
    bits: _Count
    held_back: _Count
    readable: bool
    matches_before: _Count
    matches_after: _Count
    matches_without: _Count | None
    log2_p_before: float
    log2_p_after: float
    channels: _Count
    found: _Count
    plain_accuracy: Rate
    accuracy: Rate
    rewritten_accuracy: Rate
    output_difference: float | None
    probe_seconds: float
    match_seconds: float
    rewrite_seconds: float

    @property
    def seconds(self) -> float:
        """Of the whole alignment."""
        return self.probe_seconds + self.match_seconds

    @property
    def share(self) -> float:
        """Bits that are back, of those whose rows stand where the anchor has them."""
        return self.matches_after / (self.bits - self.held_back)


class LeftOut(Record):
    """A rewrite that does not fit a host, and why."""

    host: str
    rewrite: str
    reason: str


class Sized(Record):
    """A synthetic host of some size, aligned to a permuted copy of itself.

    Attributes:
        host: its name.
        parameters: of the network.
        channels: of bound layers.
        bits: n of the claim.
        matches_after: bits that read as claimed after alignment.
        probe_seconds: for running both models on the probes.
        match_seconds: for matching and rewriting.
        search_seconds: the same where the suspect's layers have other names, so that each has to
            be searched for.
        weight_bytes: of one model.
        peak_bytes: that the alignment needed at its peak beside both models.
        threads: of torch.
    """

    host: str
    parameters: _Count
    channels: _Count
    bits: _Count
    matches_after: _Count
    probe_seconds: float
    match_seconds: float
    search_seconds: float
    weight_bytes: _Count
    peak_bytes: _Count
    threads: _Count


class Alignments(Record):
    """The metrics of an alignment card."""

    cells: tuple[Measured, ...]
    left_out: tuple[LeftOut, ...] = ()
    sizes: tuple[Sized, ...] = ()


_HEADER = (
    "host",
    "rewrite",
    "read directly",
    "aligned",
    "not rewritten",
    "held back",
    "share",
    "log2 p",
    "accuracy",
    "output difference",
    "probes, s",
    "matching, s",
)
_LEGEND = (
    "Matching bits of a claim before and after the suspect is aligned to its reference, of the "
    "worst seed; *–*: tensors are missing or have another shape, so that nothing can be read. *Not "
    "rewritten*: what reads directly after the same fine-tuning, pruning and rounding without any "
    "rewrite. *Held back*: bits of rows of the reference that do not fit their own anchor row "
    "best; by rule they count as mismatches, whatever the suspect, so the share is of the others. "
    "Log2 p: of the aligned reading, unpaid. Accuracy on the test part: of the rewritten network, "
    "and in parentheses of the marked one and of the one before marking. Output difference: the "
    "largest on test samples over the largest output. *All*: every rewrite that fits the network, "
    "one after the other, and other names for everything."
)
_SIZES = (
    "Synthetic hosts, marked and not trained; a permuted copy is aligned, under the same names and "
    "(*renamed*) under others, where each layer has to be searched for. Peak memory is what the "
    "alignment needs beside both models."
)


def render(card: Card) -> str:
    """Hosts and rewrites, and what grows with size.

    Args:
        card: of this experiment.

    Returns:
        Markdown.
    """
    found = Alignments.model_validate(card.metrics)
    parts = []
    if found.cells:
        groups: dict[tuple[str, str], list[Measured]] = {}
        for cell in found.cells:
            groups.setdefault((cell.host, cell.rewrite), []).append(cell)
        parts += [table(_HEADER, [_row(cells) for cells in groups.values()]), _LEGEND]
        parts.append(_sums(found.cells))
    if found.left_out:
        named: dict[str, list[str]] = {}
        for left in found.left_out:
            rewrites = named.setdefault(left.host, [])
            if left.rewrite not in rewrites:
                rewrites.append(left.rewrite)
        said = "; ".join(f"{host}: {', '.join(names)}" for host, names in named.items())
        parts.append(f"Rewrites that do not fit a host were left out: {said}.")
    if found.sizes:
        header = ("host", "parameters", "channels", "aligned", "probes, s", "matching, s",
                  "renamed, s", "threads", "weights", "peak memory")  # fmt: skip
        parts += [table(header, [_sized(size) for size in found.sizes]), _SIZES]
    return "\n\n".join(parts)


def _row(cells: Sequence[Measured]) -> tuple[str, ...]:
    worst = min(cells, key=lambda cell: cell.share)
    differences = [c.output_difference for c in cells if c.output_difference is not None]
    return (
        worst.host,
        worst.rewrite,
        f"{worst.matches_before}" if worst.readable else "–",
        f"{worst.matches_after}/{worst.bits}",
        "" if worst.matches_without is None else str(worst.matches_without),
        str(worst.held_back),
        f"{100 * worst.share:.1f} %",
        f"{worst.log2_p_after:.0f}".replace("-", "−"),
        f"{fmean(c.rewritten_accuracy for c in cells):.3f} "
        f"({fmean(c.accuracy for c in cells):.3f}, {fmean(c.plain_accuracy for c in cells):.3f})",
        f"{max(differences):.0e}" if len(differences) == len(cells) else "not finite",
        f"{fmean(cell.probe_seconds for cell in cells):.2f}",
        f"{fmean(cell.match_seconds for cell in cells):.2f}",
    )


def _sums(cells: Sequence[Measured]) -> str:
    said = []
    for kind, what in (("pure", "rewrites that keep the function"), ("composed", "compositions")):
        mine = [cell for cell in cells if cell.kind == kind]
        if mine:
            worst = min(mine, key=lambda cell: cell.share)
            whole = sum(cell.share == 1 for cell in mine)
            said.append(
                f"**{whole} of {len(mine)} {what} give all bits back**; the fewest, "
                f"{100 * worst.share:.1f} %, {worst.host}, {worst.rewrite}."
            )
    return " ".join(said)


def _sized(size: Sized) -> tuple[str, ...]:
    return (
        size.host,
        f"{size.parameters:,}",
        f"{size.channels:,}",
        f"{size.matches_after}/{size.bits}",
        f"{size.probe_seconds:.1f}",
        f"{size.match_seconds:.1f}",
        f"{size.search_seconds:.1f}",
        str(size.threads),
        f"{size.weight_bytes / 2**20:.0f} MiB",
        f"{size.peak_bytes / 2**20:.0f} MiB",
    )
