"""From sums in float32 to readings whose signs are exact.

Where |r| is within the bound of its rounding, or where squares leave float32's range, a row is
counted again in float64, and where float64 cannot tell either, exactly.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from modeldeed.passport.evidence._channels import Channels
from modeldeed.passport.evidence._packed_signs import PackedSigns

__all__ = ["settled"]

Doubles = NDArray[np.float64]

_RECOUNTED = 2**20  # weights in float64 at a time
_LEAST_SQUARE = 2.0**-90  # per weight; below, float32 squares may have lost what counts
_U32, _U64 = 2.0**-24, 2.0**-53


def settled(
    channels: Channels, signs: PackedSigns, products: Doubles, squares: Doubles, terms: int
) -> Doubles:
    """Divide by the lengths; count anew where rounding could have turned a sign.

    Args:
        channels: the weight.
        signs: its passport.
        products: ⟨w, P⟩ of every channel.
        squares: ‖w‖² of every channel.
        terms: how many numbers were summed in float32, at most; the rest in float64.

    Returns:
        The readings, shape ``(C,)``, right in their signs.
    """
    fan = channels.fan
    # With m terms a float32 sum errs by at most m u Σ|w|, in any order, and Σ|w| ≤ √D ‖w‖; two
    # more u for rounding to float32 and a factor for ‖w‖ itself.
    bound = 1.1 * (min(fan, terms) + 2) * _U32 * math.sqrt(fan)
    found: Doubles = products / np.sqrt(squares)
    # A comparison with NaN is false; an infinite square leaves nothing above the bound.
    sure = (squares >= fan * _LEAST_SQUARE) & (np.abs(found) > bound)
    doubtful = np.flatnonzero(~sure)
    step = max(1, _RECOUNTED // max(1, fan))
    for start in range(0, len(doubtful), step):
        some = doubtful[start : start + step]
        found[some] = _recounted(channels, signs, some)
    return found


def _recounted(channels: Channels, signs: PackedSigns, some: NDArray[np.int64]) -> Doubles:
    rows = channels.exact(torch.from_numpy(some)).numpy()
    fan = channels.fan
    reader = signs.reader()
    passport = np.stack([reader.floats(i, i + 1, 0, fan)[0].copy() for i in some.tolist()])
    terms = rows * passport
    lengths = np.sqrt((rows * rows).sum(1))
    found: Doubles = np.where(lengths > 0, terms.sum(1) / lengths, lengths)
    # A sum of D float64 numbers, in whatever order.
    unsettled = np.flatnonzero(np.abs(found) <= fan * _U64 * math.sqrt(fan))
    for i in unsettled.tolist():
        if lengths[i] > 0:
            found[i] = math.fsum(terms[i]) / lengths[i]
    return found
