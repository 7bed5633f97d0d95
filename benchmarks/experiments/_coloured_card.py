"""The metrics of a card of the experiment ``coloured``, and the card as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

from benchmarks.cards import Card
from benchmarks.markdown import signed, table
from benchmarks.records import Rate, Record

__all__ = ["Coloured", "Left", "Measured", "render"]


class Left(Record):
    """What an attack left.

    Attributes:
        attack: its name.
        accuracy: of the attacked network, on the test part.
        matches: bits that still read as claimed.
        log10_p: of that many by chance, unpaid.
        verdict: of the claim.
        epochs: of training that the attack cost.
    """

    attack: str
    accuracy: Rate
    matches: int
    log10_p: float
    verdict: str
    epochs: int


class Measured(Record):
    """One host under one seed and one reading.

    Attributes:
        host: its name.
        seed: of start, order and owner.
        reading: ``"weights"``, or ``"coloured"`` with the plain epochs before the passport was
            issued.
        plain_accuracy: of the network trained without a passport.
        public_accuracy: of the marked network.
        private_accuracy: of its private branch with its trained statistics.
        training_time_ratio: marked over plain, the median over interleaved marked epochs.
        issue_seconds: to issue the passport, with the factors.
        factor_bytes: of the factors in the passport's folder.
        verify_seconds: level 1 from files, the shortest of three.
        bits: n.
        matches: bits that read as claimed.
        log10_p: of that many by chance, unpaid.
        median_margin: in standard deviations of an unrelated weight.
        attacks: what each attack left.
    """

    host: str
    seed: int
    reading: str
    plain_accuracy: Rate
    public_accuracy: Rate
    private_accuracy: Rate
    training_time_ratio: float
    issue_seconds: float
    factor_bytes: int
    verify_seconds: float
    bits: int
    matches: int
    log10_p: float
    median_margin: float
    attacks: tuple[Left, ...]


class Coloured(Record):
    """The metrics of a card."""

    cells: tuple[Measured, ...]

    def groups(self) -> list[list[Measured]]:
        """The cells of each host and reading, over seeds."""
        found: dict[tuple[str, str], list[Measured]] = {}
        for cell in self.cells:
            found.setdefault((cell.host, cell.reading), []).append(cell)
        return list(found.values())


def render(card: Card) -> str:
    """Two tables: what each reading costs, and what each attack leaves of it.

    Args:
        card: of this experiment.

    Returns:
        Markdown.
    """
    groups = Coloured.model_validate(card.metrics).groups()
    costs = table(
        ("host", "reading", "plain", "public − plain", "private − plain", "bits matched",
         "median margin", "training time", "factors", "level 1"),
        [_cost(cells) for cells in groups],
    )  # fmt: skip
    left = table(
        ("host", "attack", "reading", "epochs", "accuracy", "bits left, mean (fewest)",
         "log10 p, largest", "verified"),
        [
            _left(cells, number)
            for name in dict.fromkeys(cells[0].host for cells in groups)
            for number in range(len(groups[0][0].attacks))
            for cells in groups
            if cells[0].host == name
        ],
    )  # fmt: skip
    return f"{costs}\n\n{left}\n\n{_LEGEND}"


_LEGEND = (
    "Means over seeds unless it says otherwise. *coloured, late*: the passport was issued after a "
    "sixth of the epochs. Training time: marked over plain epochs, interleaved. Factors: kept in "
    "the passport's folder. Level 1: the shortest of three readings from files, of the seed that "
    "took longest. Epochs: of training on all data that the attack costs; the network itself had "
    "those in the card's configuration. log10 p is before payment."
)


def _mean(cells: Sequence[Measured], value: Callable[[Measured], float]) -> float:
    return fmean(value(cell) for cell in cells)


def _cost(cells: list[Measured]) -> tuple[str, ...]:
    worst = min(cells, key=lambda cell: cell.matches)
    return (
        worst.host,
        worst.reading,
        f"{_mean(cells, lambda c: c.plain_accuracy):.3f}",
        signed(_mean(cells, lambda c: c.public_accuracy - c.plain_accuracy)),
        signed(_mean(cells, lambda c: c.private_accuracy - c.plain_accuracy)),
        f"{worst.matches}/{worst.bits}",
        f"{_mean(cells, lambda c: c.median_margin):.1f}",
        f"{_mean(cells, lambda c: c.training_time_ratio):.2f}×",
        f"{worst.factor_bytes / 1e6:.1f} MB",
        f"{max(cell.verify_seconds for cell in cells):.3f} s",
    )


def _left(cells: list[Measured], number: int) -> tuple[str, ...]:
    found = [cell.attacks[number] for cell in cells]
    verified = sum(left.verdict == "verified" for left in found)
    return (
        cells[0].host,
        found[0].attack,
        cells[0].reading,
        str(found[0].epochs),
        f"{fmean(left.accuracy for left in found):.3f}",
        f"{fmean(left.matches for left in found):.0f} ({min(left.matches for left in found)})"
        f" of {cells[0].bits}",
        f"{max(left.log10_p for left in found):.0f}",
        f"{verified} of {len(found)}",
    )
