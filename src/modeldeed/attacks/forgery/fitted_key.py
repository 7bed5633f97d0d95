"""Key fitted after inspection: improve a key step by step on the model it shall fit.

Whatever goes into an anchor can be varied. Hill climbing keeps each change of the label after
which more bits match. Between a label and its key stand one-way functions, so no step leads nearer
to anything, and the climb is worth as many tries as it made: brute force with a detour.

Source:
    This project.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from modeldeed.attacks.forgery._keys import Tries
from modeldeed.attacks.forgery.registry import Claim, Forgery, Stolen, forger, register
from modeldeed.errors import OptionError

__all__ = ["FittedKey"]

_LENGTH = 24
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@register(
    "fitted-key",
    needs=("weights",),
    unknown=("the owner's key", "any data"),
    source="this project",
)
@dataclass(frozen=True, kw_only=True)
class FittedKey(Forgery):
    """Climb from label to label.

    Attributes:
        steps: labels that are tried.

    Raises:
        OptionError: fewer than one step.
    """

    steps: int = 1_000

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise OptionError(f"at least one step is taken, got {self.steps}")

    def claims(self, stolen: Stolen, generator: torch.Generator) -> tuple[Claim, ...]:
        """The passport under the label where the climb ended."""
        owner = forger(generator)
        tries = Tries(stolen, owner)

        def drawn(bound: int) -> int:
            return int(torch.randint(bound, (), generator=generator))

        label = "".join(_LETTERS[drawn(len(_LETTERS))] for _ in range(_LENGTH))
        best = tries.matches(label)
        for _ in range(self.steps - 1):
            place = drawn(_LENGTH)
            tried = label[:place] + _LETTERS[drawn(len(_LETTERS))] + label[place + 1 :]
            if (matches := tries.matches(tried)) > best:
                label, best = tried, matches
        what = f"a key that {self.steps:,} steps of hill climbing led to"
        return (Claim(what, owner, tries.passport(label)),)
