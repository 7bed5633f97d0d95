"""Readers that break a condition of exactness on purpose: what calibration must notice.

Each counts matches of one key from the same readings; `COUNTS` names them. The first is the
program's own rule, written once more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from modeldeed.anchor import Anchor
from modeldeed.passport.evidence.signature import claimed_bits, passport_rows, project

__all__ = ["CORRECT", "COUNTS", "LayerUnderKey", "under_key"]


@dataclass(frozen=True)
class LayerUnderKey:
    """One layer of a suspect under one key.

    Attributes:
        bits: b, ±1, shape ``(C,)``.
        readings: c·r, shape ``(C,)``.
        first_signs: the first sign of each channel's passport row, shape ``(C,)``.
    """

    bits: Tensor
    readings: Tensor
    first_signs: Tensor

    @property
    def matches(self) -> Tensor:
        """Which bits read as claimed, shape ``(C,)``."""
        return self.bits * self.readings > 0


def under_key(state: Mapping[str, Tensor], anchor: Anchor, key: bytes) -> list[LayerUnderKey]:
    """Every layer of a model under a key; channels left out at issue are not in it."""
    found = []
    for ordinal, target in enumerate(anchor.targets):
        passport = passport_rows(key, ordinal, target, "gamma", anchor.passport_rule.rows)
        bits = claimed_bits(key, ordinal, target)
        readings = project(state[target.weight].double(), passport, target.axis)
        if target.affine:
            readings = readings * state[target.affine].double().sign()
        first = passport.movedim(target.axis, 0).flatten(1)[:, 0]
        kept = bits != 0
        found.append(LayerUnderKey(bits[kept], readings[kept], first[kept]))
    return found


def _count(matches: Tensor) -> int:
    return int(matches.sum())


def _as_claimed(layers: list[LayerUnderKey]) -> tuple[int, int]:
    matches = torch.cat([layer.matches for layer in layers])
    return _count(matches), len(matches)


def _bits_from_passport(layers: list[LayerUnderKey]) -> tuple[int, int]:
    matches = torch.cat([layer.first_signs * layer.readings > 0 for layer in layers])
    return _count(matches), len(matches)


def _convention_after_looking(layers: list[LayerUnderKey]) -> tuple[int, int]:
    counts = [(_count(layer.matches), len(layer.bits)) for layer in layers]
    return sum(max(m, n - m) for m, n in counts), sum(n for _, n in counts)


def _list_after_looking(layers: list[LayerUnderKey]) -> tuple[int, int]:
    counts = [(_count(layer.matches), len(layer.bits)) for layer in layers]
    longest = max(n for _, n in counts)  # of layers of one length, so that n is fixed
    worst = min((m, n) for m, n in counts if n == longest)
    return sum(m for m, _ in counts) - worst[0], sum(n for _, n in counts) - worst[1]


Count = Callable[[list[LayerUnderKey]], tuple[int, int]]
"""From all layers under a key to matches and bits."""

CORRECT = "as the program does"

COUNTS: dict[str, Count] = {
    CORRECT: _as_claimed,
    "bits taken from the passport's stream": _bits_from_passport,
    "sign convention of each layer chosen after looking": _convention_after_looking,
    "worst layer left out after looking": _list_after_looking,
}
