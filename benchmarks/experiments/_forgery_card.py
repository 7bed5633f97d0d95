"""The metrics of a card of ``forgery``, and the card as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from benchmarks.cards import Card
from benchmarks.markdown import table
from benchmarks.records import Rate, Record
from modeldeed import Verdict

__all__ = ["Forged", "Forgeries", "Genuine", "Handed", "render"]


class Handed(Record):
    """One claim under our rule, and what became of it.

    Attributes:
        what: was handed in.
        verdict: of the judge.
        reason: in his words.
        matches: bits, or answers, that match; None where the evidence was refused.
        total: of so many.
        branch: what level 2 said; None where it was not run.
        branch_accuracy: of the private branch under the forger's key, as the judge measures it.
        own_copy_verdict: on the copy that the forger made; None without one.
        own_copy_accuracy: of that copy.
        unbound_matches: bits that would match if what was chosen were free to choose.
        unbound_bits: of so many.
    """

    what: str
    verdict: Verdict
    reason: str
    matches: int | None
    total: int | None
    branch: str | None
    branch_accuracy: Rate | None
    own_copy_verdict: Verdict | None
    own_copy_accuracy: Rate | None
    unbound_matches: int | None
    unbound_bits: int | None


class Forged(Record):
    """One forgery under one seed.

    Attributes:
        forgery: registered name.
        seed: of models, owner and forger.
        needs: what the forger has to have.
        source: who described it.
        published_public_accuracy: of the model that is marked in the published form.
        published_private_accuracy: under the forged claim; None where the forgery has no meaning
            under the published rule.
        published_match_rate: share of the claimed bits that the claimed passports give.
        published_accepts: whether the published rule takes the claim.
        owner_bits_read: share of the *owner's* bits that the forger knows by what he claims, each
            layer up to its sign; guessing reads about ``owner_bits_guessed``.
        owner_bits_guessed: the same share for random bits.
        ours_accepts: whether one of the claims is verified against the owner's model.
        claims: what was handed in under our rule.
        tries: keys that were tried; None where none were.
        expected_matches: what the best of so many unrelated keys matches on the average.
        chance: that the best of so many unrelated keys matches as many bits or more.
        seconds: wall time of the forger's work and the judge's.
    """

    forgery: str
    seed: int
    needs: tuple[str, ...]
    source: str
    published_public_accuracy: Rate | None
    published_private_accuracy: Rate | None
    published_match_rate: Rate | None
    published_accepts: bool | None
    owner_bits_read: Rate | None
    owner_bits_guessed: Rate | None
    ours_accepts: bool
    claims: tuple[Handed, ...]
    tries: int | None
    expected_matches: float | None
    chance: Rate | None
    seconds: float


class Genuine(Record):
    """The genuine owner, under both rules.

    Attributes:
        host: the network and its data.
        seed: of model and owner.
        published_public_accuracy: of the model that is marked in the published form.
        published_private_accuracy: under the owner's passports.
        published_match_rate: of his bits.
        published_accepts: whether the published rule takes his claim.
        public_accuracy: of the model that is marked in our form.
        matches: of his bits there.
        bits: n.
        verdict: of our judge.
        ours_bits_read: share of the owner's bits that the leading singular vectors show there.
        bits_guessed: the same for random bits.
    """

    host: str
    seed: int
    published_public_accuracy: Rate
    published_private_accuracy: Rate
    published_match_rate: Rate
    published_accepts: bool
    public_accuracy: Rate
    matches: int
    bits: int
    verdict: Verdict
    ours_bits_read: Rate
    bits_guessed: Rate


class Forgeries(Record):
    """The metrics of a card: the owner and every forgery, under every seed."""

    genuine: tuple[Genuine, ...]
    forged: tuple[Forged, ...]


_HEADER = (
    "forgery", "needs", "private accuracy", "bits matched", "owner's bits", "published rule",
    "our rule", "best under ours",
)  # fmt: skip


def render(card: Card) -> str:
    """One row for the owner and for each forgery: means over seeds, every outcome counted.

    Args:
        card: of this experiment.

    Returns:
        Markdown.
    """
    metrics = Forgeries.model_validate(card.metrics)
    if not metrics.genuine:
        return "No host was measured."
    groups: dict[str, list[Forged]] = {}
    for cell in metrics.forged:
        groups.setdefault(cell.forgery, []).append(cell)
    rows = [_owner(metrics.genuine), *(_row(group) for group in groups.values())]
    parts = [_introduction(metrics.genuine), table(_HEADER, rows)]
    if tried := [cell for cell in metrics.forged if cell.tries]:
        parts.append(table(_SEARCH_HEADER, [_search(cell) for cell in tried]))
    if copies := [cell for cell in metrics.forged if _copies([cell])]:
        parts.append(_own_copies(copies))
    return "\n\n".join([*parts, _LEGEND])


def _introduction(genuine: Sequence[Genuine]) -> str:
    public = fmean(cell.published_public_accuracy for cell in genuine)
    ours = fmean(cell.public_accuracy for cell in genuine)
    read = fmean(cell.ours_bits_read for cell in genuine)
    guessed = fmean(cell.bits_guessed for cell in genuine)
    return (
        f"Host: {genuine[0].host}, {genuine[0].bits} bits. Public accuracy {public:.3f} marked as "
        f"published, {ours:.3f} marked by this package. The leading singular vectors of the model "
        f"that this package marked show {read:.3f} of the owner's bits, where guessing reads "
        f"{guessed:.3f}."
    )


def _owner(genuine: Sequence[Genuine]) -> tuple[str, ...]:
    fewest = min(genuine, key=lambda cell: cell.matches)
    return (
        "*the genuine owner*",
        "–",
        f"{fmean(cell.published_private_accuracy for cell in genuine):.3f}",
        f"{fmean(cell.published_match_rate for cell in genuine):.3f}",
        "–",
        _accepted([cell.published_accepts for cell in genuine]),
        _counted([cell.verdict for cell in genuine]),
        f"{fewest.matches} of {fewest.bits}",
    )


def _row(group: Sequence[Forged]) -> tuple[str, ...]:
    first = group[0]
    verdicts = [claim.verdict for cell in group for claim in cell.claims]
    return (
        first.forgery,
        ", ".join(first.needs),
        _mean([cell.published_private_accuracy for cell in group]),
        _mean([cell.published_match_rate for cell in group]),
        _mean([cell.owner_bits_read for cell in group]),
        _accepted([cell.published_accepts for cell in group]),
        _counted(verdicts),
        _best(group),
    )


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{fmean(known):.3f}" if known else "–"


def _accepted(values: Sequence[bool | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    word = "accepts" if any(known) else "rejects"
    return f"{word} {sum(known) if any(known) else len(known)} of {len(known)}"


def _counted(verdicts: Sequence[Verdict]) -> str:
    return ", ".join(f"{word.value} {count}×" for word, count in Counter(verdicts).items())


def _best(group: Sequence[Forged]) -> str:
    """The claim that came nearest: the largest share of matches."""
    read = [
        (claim.matches / claim.total, claim)
        for cell in group
        for claim in cell.claims
        if claim.matches is not None and claim.total
    ]
    if not read:
        return "–"
    _, claim = max(read, key=lambda pair: pair[0])
    return f"{claim.matches} of {claim.total}"


_SEARCH_HEADER = (
    "search", "seed", "keys", "best", "expected best", "chance of it", "log2 p of the best",
)  # fmt: skip


def _search(cell: Forged) -> tuple[str, ...]:
    claim = cell.claims[0]
    return (
        cell.forgery,
        str(cell.seed),
        f"{cell.tries:,}",
        f"{claim.matches} of {claim.total}",
        f"{cell.expected_matches:.1f}",
        f"{cell.chance:.2f}",
        f"{_log2_p(claim):.1f}",
    )


def _log2_p(claim: Handed) -> float:
    from modeldeed.statistics import LN2, log_binomial_tail  # noqa: PLC0415 - only a table needs it

    return log_binomial_tail(claim.matches or 0, claim.total or 0) / LN2


def _copies(cells: Sequence[Forged]) -> list[Handed]:
    return [c for cell in cells for c in cell.claims if c.own_copy_verdict is not None]


def _own_copies(cells: Sequence[Forged]) -> str:
    names = ", ".join(dict.fromkeys(cell.forgery for cell in cells))
    found = _copies(cells)
    accuracy = fmean(claim.own_copy_accuracy or 0.0 for claim in found)
    verdicts = _counted([c.own_copy_verdict for c in found if c.own_copy_verdict])
    return (
        f"On the forger's *own* copy ({names}; accuracy {accuracy:.3f}) his claim reads: "
        f"{verdicts}. The mark is there: he put it there. It says nothing about the original, "
        "where the same claim reads as in the table."
    )


_LEGEND = (
    "Published rule: accuracy of the private branch under claimed passports, head and statistics "
    "within 5 points of the public one, and at least 90 % of the claimed bits matched; – where "
    "the forgery has no meaning there. Owner's bits: share of the genuine owner's bits among those "
    "claimed, each layer up to its sign; guessing reads somewhat more than a half. Our rule: "
    "verdicts of `modeldeed.verify` on the owner's model, over all claims that were handed in and "
    "all seeds. Best under ours: the claim that matched most. Chance: that the best of so many "
    "unrelated keys matches as much or more."
)
