"""How similar a model that has nothing to do with the reference would be, weight by weight.

With independent models of the architecture, that is measured. Without any it is computed: the
reference's rows are rotated at random into each other, which keeps how much each input is used, and
by how many independent directions, and forgets which row is which. Where channels were matched, the
rotated rows are matched as well, so that the luck of the best match is in the comparison.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modeldeed.alignment.maps import rows_assigned

__all__ = ["Chance", "matched_by_luck", "unmatched_by_luck", "with_models"]

_DRAWS = 9
_ROWS = 32
_SURE = 5.0  # standard deviations above chance
_MARGIN = 0.1
_HIGHEST = 0.95


@dataclass(frozen=True)
class Chance:
    """What similarity an independent weight would show.

    Attributes:
        expected: its mean.
        spread: its standard deviation.
        observed: of independent models, where they were given.
    """

    expected: float
    spread: float
    observed: tuple[float, ...] = ()

    @property
    def bound(self) -> float:
        """The least similarity that counts as related."""
        least = max((self.expected, *self.observed)) + max(_SURE * self.spread, _MARGIN)
        return min(least, _HIGHEST)

    @property
    def worth_trying(self) -> float:
        """The least similarity of an order that is tried on other weights; they decide."""
        return min(self.expected + _SURE * self.spread, _HIGHEST)

    def score(self, similarity: float) -> float:
        """How many standard deviations above chance a similarity is."""
        return (similarity - self.expected) / max(self.spread, 1e-6)

    def rank(self, similarity: float) -> float | None:
        """(1 + independent models at least as similar) / (N + 1); None without any."""
        if not self.observed:
            return None
        as_similar = sum(each >= similarity for each in self.observed)
        return (1 + as_similar) / (len(self.observed) + 1)


def unmatched_by_luck(reference: Tensor, parameters: int) -> Chance:
    """The cosine of a weight with its rows rotated at random: in closed form.

    For a random rotation Q the cosine tr(Q W Wᵀ) / tr(W Wᵀ) has mean 0 and variance
    ‖W Wᵀ‖² / (O · tr(W Wᵀ)²). Fitted factors raise the expectation by what they explain of noise.

    Args:
        reference: ``(O, I, K)``.
        parameters: fitted factors.
    """
    rows = reference.flatten(1)
    side = rows if rows.shape[0] <= rows.shape[1] else rows.mT
    gram = side @ side.mT
    total = float(gram.trace())
    if total <= 0:
        return Chance(0.0, 1.0)
    spread = float(gram.norm()) / total / math.sqrt(rows.shape[0])
    return Chance(math.sqrt(min(1.0, parameters / rows.numel())), spread)


def matched_by_luck(reference: Tensor) -> Chance:
    """The mean cosine of the reference's rows with rotated ones, each with its best partner.

    Args:
        reference: ``(O, I, K)``.

    Note:
        Nine draws with a fixed generator, of 32 rows at most: with fewer rows each finds a better
        partner, so a large layer is held to slightly more than chance.
    """
    flat = reference.flatten(1)
    count = min(_ROWS, len(flat))
    generator = torch.Generator().manual_seed(0)
    means = []
    for _ in range(_DRAWS):
        basis, _ = torch.linalg.qr(torch.randn(len(flat), count, generator=generator))
        found = rows_assigned(flat, basis.mT @ flat, torch.ones(len(flat)))
        means.append(float(found.cosine.mean()))
    spread = statistics.stdev(means) * math.sqrt(count / len(flat))
    return Chance(statistics.fmean(means), max(spread, 1e-3))


def with_models(computed: Chance, observed: Sequence[float]) -> Chance:
    """Chance as independent models show it; never narrower than computed.

    Args:
        computed: from the reference alone.
        observed: similarities of independent models, found in the same way as the suspect's.
    """
    if not observed:
        return computed
    spread = statistics.stdev(observed) if len(observed) > 1 else 0.0
    return Chance(statistics.fmean(observed), max(spread, computed.spread), tuple(observed))
