"""Which operation of a suspect is which of the reference's: by name, or by what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from torch import Tensor

from modeldeed.alignment.chains import with_chains
from modeldeed.alignment.maps import similarity
from modeldeed.alignment.recording import Operation

__all__ = ["counterparts", "fitted"]

_SKETCH = 256  # positions that a comparison of operations looks at
_ENOUGH = 0.8
_TRIED = 4


Made = TypeVar("Made")
Fit = Callable[[int, Operation | None], tuple[float, Made]]
"""Aligns a suspect's operation to the reference's of some number: how well it fits, 0 … 1, and what
is made of it."""


def fitted(
    reference: Sequence[Operation],
    suspect: Sequence[Operation],
    fit: Fit[Made],
    places: Sequence[int] = (),
) -> list[Made]:
    """Find each operation's counterpart, and what is made of it.

    An operation of the same name counts if it fits, or else of the same place. The others are
    matched in the order in which they run, so that the sum of what fits is largest; operations of
    the suspect may be left over.

    Args:
        reference: those that are looked for, in order.
        suspect: all that the suspect has, in order.
        places: of those that are looked for among all operations of the reference, where the
            suspect has as many; what was renamed alone stands there.
        fit: aligns a pair; called for those of the same name, and else for the few that a sketch
            finds most alike.

    Returns:
        One for each of the reference's.
    """
    by_name = {operation.name: operation for operation in suspect if operation.name}
    found: dict[int, Made] = {}
    for number, operation in enumerate(reference):
        other = by_name.get(operation.name)
        if other is None and places:
            other = suspect[places[number]]
        if other is not None and _comparable(operation, other):
            share, made = fit(number, other)
            if share >= _ENOUGH:
                found[number] = made
    if len(found) < len(reference):
        paired = _searched(reference, with_chains(suspect), fit)
        for number in set(range(len(reference))) - set(found):
            found[number] = fit(number, paired[number])[1]
    return [found[number] for number in range(len(reference))]


def counterparts(operation: Operation, suspect: Sequence[Operation]) -> list[int]:
    """The operations of a suspect that may say the same in another basis.

    That of the same name; else the few in which the same positions are alike, in what is read and
    in what is written.

    Args:
        operation: that is looked for.
        suspect: all that the suspect has.

    Returns:
        Their places; none if there is none of the same geometry.
    """
    comparable = [k for k, other in enumerate(suspect) if _comparable(operation, other)]
    named = [k for k in comparable if operation.name and suspect[k].name == operation.name]
    if named:
        return named[:1]
    inputs, outputs = _alikeness(operation.inputs), _alikeness(operation.outputs)
    alike = {
        k: float((inputs * _alikeness(suspect[k].inputs)).sum())
        * float((outputs * _alikeness(suspect[k].outputs)).sum())
        for k in comparable
    }
    return sorted(alike, key=lambda k: -alike[k])[:_TRIED]


def _alikeness(said: Tensor) -> Tensor:
    """How alike positions are: the same in every basis, of length one."""
    said = said[:_SKETCH] - said[:_SKETCH].mean(0)
    products = said @ said.mT
    scaled: Tensor = products / products.norm().clamp_min(1e-30)
    return scaled


def _searched(
    reference: Sequence[Operation], suspect: Sequence[Operation], fit: Fit[Made]
) -> list[Operation | None]:
    scores = np.zeros((len(reference), len(suspect)))
    for number, operation in enumerate(reference):
        alike = [_alike(operation, other) for other in suspect]
        for place in sorted(range(len(alike)), key=lambda k: -alike[k])[:_TRIED]:
            if alike[place] > 0:
                scores[number, place] = fit(number, suspect[place])[0]
    return _in_order(scores, suspect)


def _comparable(one: Operation, other: Operation) -> bool:
    return one.geometry == other.geometry and one.weight.shape[2:] == other.weight.shape[2:]


def _alike(one: Operation, other: Operation) -> float:
    """How well the channels of an operation are found in another, inputs and outputs; 0 … 1."""
    if not _comparable(one, other):
        return 0.0
    return _covered(one.inputs, other.inputs) * _covered(one.outputs, other.outputs)


def _covered(reference: Tensor, suspect: Tensor) -> float:
    cosines, _ = similarity(reference[:_SKETCH], suspect[:_SKETCH])
    best = cosines.amax(1)
    return float(best[best > 0].mean()) if bool((best > 0).any()) else 0.0


def _in_order(
    scores: np.ndarray[tuple[int, int], np.dtype[np.float64]], suspect: Sequence[Operation]
) -> list[Operation | None]:
    """The pairing of largest sum in which neither side runs backwards."""
    rows, columns = scores.shape
    best = np.zeros((rows + 1, columns + 1))
    for row in range(1, rows + 1):
        for column in range(1, columns + 1):
            best[row, column] = max(
                best[row - 1, column],
                best[row, column - 1],
                best[row - 1, column - 1] + scores[row - 1, column - 1],
            )
    found: list[Operation | None] = [None] * rows
    row, column = rows, columns
    while row and column:
        if best[row, column] == best[row - 1, column]:
            row -= 1
        elif best[row, column] == best[row, column - 1]:
            column -= 1
        else:
            row, column = row - 1, column - 1
            found[row] = suspect[column]
    return found
