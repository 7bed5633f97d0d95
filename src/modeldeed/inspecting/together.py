"""What one layer alone does not tell: averaging with another model, and noise in small layers."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from modeldeed.inspecting.results import LayerFinding, Operation, OperationKind

__all__ = ["together"]

_VALUES: tuple[OperationKind, ...] = ("fine-tuned", "re-trained", "noise added")
_LEAST = 3  # layers
_MOST_KEPT = 0.9
_ALIKE = 0.05
_SMALL = 512  # weights, below which noise and training look the same


def together(layers: Sequence[LayerFinding]) -> list[LayerFinding]:
    """Settle by the whole what single layers leave open.

    If most of the layers that changed keep one and the same share of the reference, less than
    0.9, they were averaged with something: training takes from each layer something else. And a
    layer too small to tell noise from training is called what most of the others are.

    Args:
        layers: as they look alone.

    Returns:
        The same layers, some operations renamed.
    """
    open_ = [x for x in layers if x.word == "changed" and set(x.kinds) & set(_VALUES)]
    shares = [x.kept for x in open_ if x.kept is not None]
    if len(shares) >= _LEAST:
        middle = statistics.median(shares)
        near = [abs(share - middle) <= _ALIKE for share in shares]
        if middle < _MOST_KEPT and sum(near) >= 0.8 * len(near):
            detail = f"{middle:.2f} of the reference is left"
            return [_renamed(x, "averaged", detail) if x in open_ else x for x in layers]
    large = [x for x in open_ if _size(x) >= _SMALL]
    if sum("noise added" in x.kinds for x in large) > len(large) / 2:
        return [
            _renamed(x, "noise added") if x in open_ and _size(x) < _SMALL else x for x in layers
        ]
    return list(layers)


def _size(layer: LayerFinding) -> int:
    size = 1
    for side in layer.shape:
        size *= side
    return size


def _renamed(layer: LayerFinding, kind: OperationKind, detail: str | None = None) -> LayerFinding:
    operations = tuple(
        Operation(kind=kind, detail=o.detail if detail is None else detail)
        if o.kind in _VALUES
        else o
        for o in layer.operations
    )
    return layer.model_copy(update={"operations": operations})
