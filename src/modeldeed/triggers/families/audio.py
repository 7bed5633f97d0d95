"""Sound: keyed notes, sweeps and gated noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modeldeed.anchor.trigger_rule import AudioInput
from modeldeed.triggers.families.draws import Draws
from modeldeed.triggers.families.registry import Array, register

__all__ = ["bands", "chirps", "noise", "notes"]

_NOTES = 16
_VOICES = 3
_LOUDEST = 2**14


@register("noise/v1", AudioInput)
def noise(draws: Draws, form: AudioInput) -> Array:
    """Every sample keyed, at half the range."""
    return draws.below(2 * _LOUDEST, form.samples) - _LOUDEST


@register("notes/v1", AudioInput)
def notes(draws: Draws, form: AudioInput) -> Array:
    """Sixteen notes, one after another, each of three keyed square or triangle waves."""
    at = np.arange(form.samples, dtype=np.int64)
    note = at * _NOTES // form.samples
    total = np.zeros((len(draws), form.samples), np.int32)
    for _ in range(_VOICES):
        step = _steps(draws, _NOTES)
        square = draws.bits(_NOTES)
        loud = draws.below(_LOUDEST // _VOICES, _NOTES).astype(np.int32)
        phase = step.take(note, axis=1) * at.astype(np.uint32)
        total += _wave(phase, square.take(note, axis=1)) * loud.take(note, axis=1) >> 15
    return total


@register("chirps/v1", AudioInput)
def chirps(draws: Draws, form: AudioInput) -> Array:
    """Three square or triangle waves, each of which glides from one keyed pitch to another."""
    at = np.arange(form.samples, dtype=np.int64)
    total = np.zeros((len(draws), form.samples), np.int32)
    for _ in range(_VOICES):
        step = _steps(draws, 2).astype(np.int64)
        square, start = draws.bits(1), draws.below(2**31, 1).astype(np.uint32)
        gliding = step[:, :1] + (step[:, 1:] - step[:, :1]) * at // form.samples
        phase = np.cumsum(gliding.astype(np.uint32), axis=1, dtype=np.uint32) + start
        total += _wave(phase, square) * np.int32(_LOUDEST // _VOICES) >> 15
    return total


@register("bands/v1", AudioInput)
def bands(draws: Draws, form: AudioInput) -> Array:
    """Keyed noise through keyed running means, sixteen stretches of keyed loudness in each."""
    at = np.arange(form.samples, dtype=np.int64)
    stretch = at * _NOTES // form.samples
    total = np.zeros((len(draws), form.samples), np.int64)
    for voice in range(_VOICES):
        width = 4**voice
        raw = draws.below(2**15, form.samples + width) - 2**14
        sums = np.cumsum(raw, axis=1)
        # The sum of so many has the square root of that many times the size of one.
        mean = sums[:, width:] - sums[:, :-width] >> voice
        loud = draws.below(2**14, _NOTES)[:, stretch]
        total += mean * loud >> 15
    return np.clip(total, -(2**15), 2**15 - 1)


def _steps(draws: Draws, count: int) -> NDArray[np.uint32]:
    """Keyed steps of a phase that wraps at 2³²: periods of 8 to 128 samples, ``(N, count)``."""
    octave, part = draws.below(4, count), draws.below(256, count)
    return (2**37 // (256 + part << octave)).astype(np.uint32)


def _wave(phase: NDArray[np.uint32], square: NDArray[np.uint8]) -> NDArray[np.int32]:
    """A square or triangle wave between ±2¹⁵ at a phase."""
    folded = np.minimum(phase, ~phase)  # up to 2³¹ − 1 and down again
    triangle = (folded >> 15).astype(np.int32) - 2**15
    return np.where(square == 1, np.where(phase < 2**31, 2**15, -(2**15)), triangle).astype(
        np.int32
    )
