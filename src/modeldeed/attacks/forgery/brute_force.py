"""Brute force: try keys on the stolen model and claim with the best.

Every label gives another key, so tries cost a millisecond each. What the best of T tries reads is
known exactly beforehand, because matches under an unrelated key are Binomial(n, ½): that is what
the budget pays for.

Source:
    This project.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch

from modeldeed.attacks.forgery._keys import Tries
from modeldeed.attacks.forgery.registry import Claim, Forgery, Stolen, forger, register
from modeldeed.errors import OptionError
from modeldeed.statistics import log_binomial_tail

__all__ = ["BruteForce", "chance_of_best", "expected_best"]


def chance_of_best(matches: int, bits: int, tries: int) -> float:
    """How often the best of some unrelated keys matches so many bits or more.

    Args:
        matches: of the best.
        bits: n.
        tries: T, independent keys.

    Returns:
        1 − (1 − p)^T, p the exact p-value of the matches.

    Raises:
        OptionError: fewer than one try.

    Example:
        >>> round(chance_of_best(2, 2, 1), 9)
        0.25
    """
    if tries < 1:
        raise OptionError(f"at least one key is tried, got {tries}")
    p = math.exp(log_binomial_tail(matches, bits))
    return 1.0 if p >= 1 else -math.expm1(tries * math.log1p(-p))


@lru_cache
def expected_best(bits: int, tries: int) -> float:
    """The expected matches of the best of some unrelated keys.

    Args:
        bits: n.
        tries: T.

    Returns:
        The sum over m ≥ 1 of P(best ≥ m).

    Raises:
        OptionError: fewer than one try.

    Example:
        >>> expected_best(100, 1)
        50.0
    """
    return round(math.fsum(chance_of_best(m, bits, tries) for m in range(1, bits + 1)), 9)


@register(
    "brute-force",
    needs=("weights",),
    unknown=("the owner's key", "any data"),
    source="this project",
)
@dataclass(frozen=True, kw_only=True)
class BruteForce(Forgery):
    """Claim with the best of many keys.

    Attributes:
        keys: how many are tried.

    Raises:
        OptionError: fewer than one key.
    """

    keys: int = 1_000

    def __post_init__(self) -> None:
        if self.keys < 1:
            raise OptionError(f"at least one key is tried, got {self.keys}")

    def claims(self, stolen: Stolen, generator: torch.Generator) -> tuple[Claim, ...]:
        """The passport under the best label."""
        owner = forger(generator)
        tries = Tries(stolen, owner)
        label, _ = tries.best(self.keys, "model {}".format)
        return (Claim(f"the best of {self.keys:,} keys", owner, tries.passport(label)),)
