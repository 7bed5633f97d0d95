"""Sound: the carrier and the background at once."""

from __future__ import annotations

import numpy as np

from modeldeed.anchor.trigger_rule import AudioInput
from modeldeed.triggers.families import Array

__all__ = ["mixed"]

_LOUDEST = 2**14
_QUIET = 2**10


def mixed(carriers: Array, drawn: Array, form: AudioInput) -> Array:  # noqa: ARG001
    """The sum of the carrier, brought to half of the range, and the background at half its level.

    Spoken digits are then 1 dB louder than their background over half a second with its pauses,
    and so about as audible on every background, however they were recorded.

    Args:
        carriers: int16 ``(N, L)``.
        drawn: backgrounds ``(N, L)``, within ±2¹⁴.
        form: of both.

    Returns:
        Samples like the carriers, within ±(2¹⁴ + 2¹³), so nothing is cut off. Carriers whose
        peak is below 2¹⁰ are made sixteen times louder and stay below half of the range.
    """
    sound = carriers.astype(np.int32)
    peak = np.maximum(np.abs(sound).max(axis=1, keepdims=True), _QUIET)
    mixture: Array = (sound * _LOUDEST // peak + (drawn >> 1)).astype(np.int16)
    return mixture
