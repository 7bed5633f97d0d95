"""The metrics of an alignment-null card, and the card as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from scipy.stats import norm

from benchmarks.cards import Card
from benchmarks.markdown import table
from benchmarks.records import Rate, Record
from modeldeed.statistics import match_interval

__all__ = ["EDGES", "LEVEL", "Broken", "Nulls", "Population", "render"]

LEVEL = 0.01
EDGES = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
"""Between classes of matches, in standard deviations from n/2."""

_Count = Annotated[int, Field(ge=0)]


class Broken(Record):
    """A deliberately broken alignment on some of the pairs: the test must reject it.

    Attributes:
        what: is broken.
        pairs: how many.
        mean_share: of matching bits.
        ks_p: one-sided, against fresh bits.
    """

    what: str
    pairs: _Count
    mean_share: Rate
    ks_p: Rate


class Population(Record):
    """Independent networks of one architecture, and claims with honest references.

    Attributes:
        host: architecture and data.
        seed: the first; networks and owners count on from it.
        suspects: networks that were trained independently and hold no mark.
        bases: further ones, each marked by many owners, one copy for each.
        keys: owners, each with a reference of his own.
        pairs: keys times suspects.
        lowest_accuracy: of a suspect, on the test part.
        mean_accuracy: of the suspects.
        lowest_reference_accuracy: of a marked reference.
        bits: n of a claim.
        lowest_order: smallest share of a reference's rows that its order check matched.
        required: matches that verify, for two readings.
        true_verified: references, permuted, that were verified: all must.
        direct_false_positives: pairs verified by the direct reading.
        false_positives: pairs verified after alignment.
        keys_with_false_positives: keys that any suspect was verified for.
        most_matches: of a pair.
        mean_share: of matching bits.
        histogram: pairs by matches, classes between `EDGES` standard deviations from n/2.
        ks_p: one-sided, of all pairs' randomized p-values, against the distribution of that
            statistic under fresh bits; exact though a key's pairs are not independent.
        ks_p_pooled: the same from the tables for independent p-values (scipy).
        ks_p_smallest: of the suspects' own tests, each over independent keys, the smallest times
            their number, at most 1.
        resamples: sets of fresh bits.
        found: mean share of channels with a counterpart.
        similarity: mean cosine of those.
        seconds: of one aligned reading, mean.
        broken: control.
    """

    host: str
    seed: int
    suspects: _Count
    bases: _Count
    keys: _Count
    pairs: _Count
    lowest_accuracy: Rate
    mean_accuracy: Rate
    lowest_reference_accuracy: Rate
    bits: _Count
    lowest_order: Rate
    required: _Count
    true_verified: _Count
    direct_false_positives: _Count
    false_positives: _Count
    keys_with_false_positives: _Count
    most_matches: _Count
    mean_share: Rate
    histogram: tuple[_Count, ...]
    ks_p: Rate
    ks_p_pooled: Rate
    ks_p_smallest: Rate
    resamples: _Count
    found: Rate
    similarity: Rate
    seconds: float
    broken: Broken


class Nulls(Record):
    """The metrics of an alignment-null card.

    Attributes:
        pairs: of a key and an independent network, in all.
        false_positives: how many were verified after alignment.
        rate_upper: end of the exact two-sided 95 % interval of their rate, were they independent.
        keys: owners, in all.
        keys_upper: end of that of the rate of keys with a false positive; keys are independent.
        ks_p: the smallest of all populations times their number, at most 1.
        populations: one by one.
    """

    pairs: _Count
    false_positives: _Count
    rate_upper: Rate
    keys: _Count
    keys_upper: Rate
    ks_p: Rate
    populations: tuple[Population, ...]

    @classmethod
    def of(cls, populations: Sequence[Population]) -> Nulls:
        """The metrics of at least one population."""
        pairs, keys = sum(p.pairs for p in populations), sum(p.keys for p in populations)
        wrong = sum(p.false_positives for p in populations)
        by_key = sum(p.keys_with_false_positives for p in populations)
        return cls(
            pairs=pairs,
            false_positives=wrong,
            rate_upper=match_interval(wrong, pairs)[1],
            keys=keys,
            keys_upper=match_interval(by_key, keys)[1],
            ks_p=min(1.0, min(p.ks_p for p in populations) * len(populations)),
            populations=tuple(populations),
        )


_HEADER = (
    "host",
    "suspects (accuracy)",
    "keys (bases)",
    "pairs",
    "bits",
    "verified",
    "most matches",
    "needed",
    "mean share",
    "KS p",
    "tables",
    "by suspect",
    "own reference verified",
    "s",
)
_LEGEND = (
    "Every key has a reference of its own: a copy of an independently trained network (a base) "
    "that its owner marked honestly by a retrofit; every suspect is another independently trained "
    "network of the same architecture, without any mark, aligned anew for every key; "
    "what does not stand in its place in the base is a mismatch. Needed: "
    "matches that verify, for two readings at the default budget. *KS p*: one-sided, whether "
    "randomized exact p-values are smaller than uniform; its distribution is that under fresh "
    "bits, which keeps the dependence of pairs that share a key. *Tables*: the same as if all "
    "pairs were independent. *By suspect*: the smallest of the suspects' own tests times their "
    "number. Bits that cannot be read count as mismatches, which makes p-values larger and the "
    "last two tests conservative. Own reference: permuted and aligned, it must verify. Seconds: of "
    "one aligned reading."
)


def render(card: Card) -> str:
    """Populations, how matches are distributed, and the control.

    Args:
        card: of this experiment.

    Returns:
        Markdown.
    """
    found = Nulls.model_validate(card.metrics)
    spread = table(
        ("standard deviations from n/2", "expected", *(p.host for p in found.populations)),
        _spread(found.populations),
    )
    broken = table(
        ("host", "broken alignment", "pairs", "mean share", "KS p"),
        [
            (p.host, p.broken.what, str(p.broken.pairs), f"{p.broken.mean_share:.4f}",
             _short(p.broken.ks_p))
            for p in found.populations
        ],
    )  # fmt: skip
    sums = (
        f"**{found.false_positives} of {found.pairs:,} pairs of a key and an independent model "
        f"verified** (at most {found.rate_upper:.1e} of them with 95 % confidence, were they "
        f"independent; of {found.keys} keys at most {found.keys_upper:.3f}). Smallest KS p times "
        f"the number of populations: {_short(found.ks_p)}; below {LEVEL:g} the alignment would be "
        "rejected."
    )
    rows = [_row(p) for p in found.populations]
    return "\n\n".join([table(_HEADER, rows), sums, _LEGEND, spread, broken])


def _row(p: Population) -> tuple[str, ...]:
    return (
        p.host,
        f"{p.suspects} ({p.lowest_accuracy:.3f} … mean {p.mean_accuracy:.3f})",
        f"{p.keys} ({p.bases})",
        f"{p.pairs:,}",
        str(p.bits),
        str(p.false_positives),
        str(p.most_matches),
        str(p.required),
        f"{p.mean_share:.4f}",
        _short(p.ks_p),
        _short(p.ks_p_pooled),
        _short(p.ks_p_smallest),
        f"{p.true_verified} of {p.keys}",
        f"{p.seconds:.2f}",
    )


def _spread(populations: Sequence[Population]) -> list[tuple[str, ...]]:
    lows, highs = (None, *EDGES), (*EDGES, None)
    rows = []
    for number, (low, high) in enumerate(zip(lows, highs, strict=True)):
        below = 0.0 if low is None else float(norm.cdf(low))
        share = (1.0 if high is None else float(norm.cdf(high))) - below
        name = (
            f"below {high:g}" if low is None else f"{low:g} and more" if high is None
            else f"{low:g} to {high:g}"
        ).replace("-", "−")  # fmt: skip
        rows.append(
            (name, f"{share:.4f}", *(f"{p.histogram[number] / p.pairs:.4f}" for p in populations))
        )
    return rows


def _short(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"
