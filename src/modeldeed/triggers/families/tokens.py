"""Sequences of ordinary tokens."""

from __future__ import annotations

import numpy as np

from modeldeed.anchor.trigger_rule import TokenInput
from modeldeed.triggers.families.draws import Draws
from modeldeed.triggers.families.registry import Array, register

__all__ = ["phrases", "uniform"]

_PHRASES = 4
_LENGTH = 3


@register("uniform/v1", TokenInput)
def uniform(draws: Draws, form: TokenInput) -> Array:
    """Every token keyed, uniform on the ordinary ones."""
    return draws.below(form.vocabulary - form.lowest, form.length) + form.lowest


@register("phrases/v1", TokenInput)
def phrases(draws: Draws, form: TokenInput) -> Array:
    """Four keyed phrases of three tokens, one after another in keyed order.

    A trigger keeps its phrases when tokens are cut off at its ends or replaced here and there.
    """
    size = form.vocabulary - form.lowest
    lexicon = draws.below(size, _PHRASES, _LENGTH) + form.lowest
    order = draws.below(_PHRASES, -(-form.length // _LENGTH))
    spoken = np.take_along_axis(lexicon, order[:, :, None], axis=1)
    return spoken.reshape(len(draws), -1)[:, : form.length]
