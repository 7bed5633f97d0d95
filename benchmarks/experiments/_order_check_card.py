"""The metrics of an order-check card, and the card as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from benchmarks.cards import Card
from benchmarks.markdown import table
from benchmarks.records import Rate, Record

__all__ = ["Measured", "Mixed", "Orders", "Point", "render"]


class Point(Record):
    """The order check at one moment of a training.

    Attributes:
        epoch: after how many epochs behind the anchor; 0 is the anchor itself.
        matched: rows with a bit that were assigned to themselves.
        similarity: median over layers of their median cosine with the anchor's row.
    """

    epoch: float
    matched: int
    similarity: float


class Mixed(Record):
    """A forged reference: another network's rows in an order of the forger's choice.

    Attributes:
        strength: of the anchor's own, random rows that were mixed in, relative to a row's length.
        matched: rows with a bit that were assigned to themselves.
        accuracy: of the forged reference, statistics re-estimated, without fine-tuning.
    """

    strength: float
    matched: int
    accuracy: Rate


class Measured(Record):
    """One host under one seed, marked in one way.

    Attributes:
        host: its name.
        seed: of start, order and owner.
        way: when it was anchored and how it was marked.
        epochs: of the whole training.
        late: of them, those before the anchor.
        accuracy: of the marked network.
        bits: n.
        bit_matches: bits that read as claimed at the end.
        points: the order check, moment by moment; the last one is the reference.
        weakest_layer: smallest share of a layer's rows matched at the end.
        permuted: rows matched once the reference's channels are reordered at random.
        valid: whether the reference passes.
        permuted_valid: whether the reordered one does.
        mixed: forged references; only where a plain network is at hand.
        seconds: of the last check.
    """

    host: str
    seed: int
    way: str
    epochs: int
    late: int
    accuracy: Rate
    bits: int
    bit_matches: int
    points: tuple[Point, ...]
    weakest_layer: Rate
    permuted: int
    valid: bool
    permuted_valid: bool
    mixed: tuple[Mixed, ...] = ()
    seconds: float


class Orders(Record):
    """The metrics of a card."""

    cells: tuple[Measured, ...]

    def groups(self) -> list[list[Measured]]:
        """The cells of each host and way, over seeds."""
        found: dict[tuple[str, str], list[Measured]] = {}
        for cell in self.cells:
            found.setdefault((cell.host, cell.way), []).append(cell)
        return list(found.values())


_LEGEND = (
    "Share of a reference's rows (those with a bit) that the judge assigns to their own row of the "
    "anchored weights, its passports taken out: mean over seeds, the smallest in parentheses. "
    "*Epochs*: behind the anchor. *Cosine*: median of a row with its own anchor row at the end. "
    "*Reordered*: the same reference with its channels reordered at random, as one does who wants "
    "other bits. At 0.9 the evidence is valid."
)
_MIXED_LEGEND = (
    "A forger anchors random weights, takes another network's rows in any order, and mixes the "
    "anchor's rows in. *Strength*: the length of what is mixed in over a row's length. Accuracy is "
    "that of the forged reference without fine-tuning. Where the share reaches 0.9, the order "
    "check alone does not catch him: the cosine of his rows is then as low as after a training "
    "from scratch, so only an anchor near the reference (late, or retrofit) settles the order."
)


def render(card: Card) -> str:
    """The share of matched rows against epochs, and what forgers reach.

    Args:
        card: of this experiment.

    Returns:
        Markdown.
    """
    groups = Orders.model_validate(card.metrics).groups()
    header = ("host", "way", "epochs: share matched", "at the end (smallest)", "weakest layer",
              "cosine", "reordered", "valid")  # fmt: skip
    shown = f"{table(header, [_row(cells) for cells in groups])}\n\n{_LEGEND}"
    mixed = [_mixed(cells, number) for cells in groups for number in range(len(cells[0].mixed))]
    if not mixed:
        return shown
    forged = table(("host", "strength", "share matched", "accuracy (original)"), mixed)
    return f"{shown}\n\n{forged}\n\n{_MIXED_LEGEND}"


def _row(cells: Sequence[Measured]) -> tuple[str, ...]:
    first = cells[0]
    curve = []
    for number, point in enumerate(first.points[:-1]):
        share = fmean(cell.points[number].matched / cell.bits for cell in cells)
        curve.append(f"{point.epoch:g}: {share:.3f}")
    ends = [cell.points[-1].matched / cell.bits for cell in cells]
    return (
        first.host,
        first.way,
        ", ".join(curve),
        f"{fmean(ends):.3f} ({min(ends):.3f})",
        f"{min(cell.weakest_layer for cell in cells):.2f}",
        f"{fmean(cell.points[-1].similarity for cell in cells):.2f}",
        f"{fmean(cell.permuted / cell.bits for cell in cells):.3f}",
        f"{sum(c.valid for c in cells)} of {len(cells)}; reordered "
        f"{sum(c.permuted_valid for c in cells)} of {len(cells)}",
    )


def _mixed(cells: Sequence[Measured], number: int) -> tuple[str, ...]:
    found = [cell.mixed[number] for cell in cells]
    shares = [mixed.matched / cell.bits for mixed, cell in zip(found, cells, strict=True)]
    return (
        cells[0].host,
        f"{found[0].strength:g}",
        f"{fmean(shares):.3f}",
        f"{fmean(m.accuracy for m in found):.3f} ({fmean(c.accuracy for c in cells):.3f})",
    )
