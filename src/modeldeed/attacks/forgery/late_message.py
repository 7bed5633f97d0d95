"""Message chosen after the fact: let a message turn the bits into what the model reads.

A message decides a share of the bits, so whoever may choose it after reading the suspect picks for
each symbol the word that fits best. Our rule: the anchor commits to the message, and another
commitment is another key.

Source:
    This project.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from modeldeed.attacks.forgery.registry import Claim, Forgery, Stolen, forger, register
from modeldeed.errors import OptionError
from modeldeed.passport import Passport
from modeldeed.passport.evidence.message import (
    capacity,
    codewords_of,
    encode,
    symbols_of,
)
from modeldeed.passport.evidence.reading import load_layers, masked_margins, read_signature
from modeldeed.statistics import Budget
from modeldeed.suspects import open_weights

__all__ = ["LateMessage", "fitting_message"]

_PRINTABLE = tuple(chr(code) for code in range(33, 127))


def fitting_message(key: bytes, margins: Tensor, size: int) -> str:
    """The message of some bytes whose code agrees best with readings, byte after byte.

    Args:
        key: the model key.
        margins: the readings times the pseudo-random part of the bits, ``(n,)``.
        size: bytes.

    Returns:
        Printable ASCII. Check symbols follow from the others, so they agree by chance only.
    """
    bits = len(margins)
    signs = margins.sign().nan_to_num(0)
    message = ["!"] * size
    for place in range(size):

        def score(letter: str, place: int = place) -> float:
            tried = [*message[:place], letter, *message[place + 1 :]]
            return float((encode(key, "".join(tried).encode(), bits) * signs).sum())

        message[place] = max(_PRINTABLE, key=score)
    return "".join(message)


@register(
    "late-message",
    needs=("weights",),
    unknown=("the owner's key", "any data"),
    source="this project",
)
@dataclass(frozen=True, kw_only=True)
class LateMessage(Forgery):
    """Choose the message by what the model reads."""

    def claims(self, stolen: Stolen, generator: torch.Generator) -> tuple[Claim, ...]:
        """The message under the anchor of another one, and an anchor that commits to it.

        Raises:
            OptionError: the model has too few bits for a message.
        """
        owner = forger(generator)
        plan = Passport.plan(stolen.model, example=stolen.example)
        size = capacity(plan.bits)
        if not size:
            raise OptionError(f"{plan.bits} bits hold no message")
        first = Passport.issue(
            stolen.model, owner, example=stolen.example, message="x" * size
        ).manifest
        key = first.model_key(owner)
        layers = load_layers(open_weights(stolen.model), first.anchor.targets)
        message = fitting_message(key, masked_margins(layers, key), size)
        codewords = codewords_of(key, first.anchor.targets, message)
        free = read_signature(layers, key, Budget(), codewords=codewords)
        late = first.model_copy(update={"message": message}).signed(owner)
        again = Passport.issue(stolen.model, owner, example=stolen.example, message=message)
        words = f"a message of {size} bytes in {symbols_of(plan.bits, size)} symbols"
        return (
            Claim(f"{words} under the anchor of another", owner, late,
                  unbound=(free.matches, free.bits)),
            Claim(f"{words} and an anchor that commits to it", owner, again),
        )  # fmt: skip
