"""The whole suspect in one sentence, and what the other sentences would cost.

Each explanation is charged with the bits that it takes to write the suspect's layers down given the
reference: what was done, its parameters (an order of C channels is one of C! ways, a factor half of
log₂ n bits), and what is left at 24 bits a weight less its precision. The shortest comes first.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import get_args

from modeldeed.inspecting.fitting import PRECISION
from modeldeed.inspecting.results import Explanation, LayerFinding, OperationKind

__all__ = ["explain"]

_VERBS: dict[str, str] = {
    "channels removed": "channels removed",
    "channels added": "channels added",
    "permuted": "channels permuted",
    "sign-flipped": "signs of channels flipped",
    "rescaled": "channels rescaled",
    "fine-tuned": "fine-tuned",
    "re-trained": "re-trained",
    "averaged": "averaged with other weights",
    "noise added": "noise added",
    "low-rank change": "a low-rank change merged",
    "components removed": "leading components removed",
    "pruned": "pruned",
    "channels silenced": "channels set to zero",
    "cast": "cast",
    "quantized": "quantized",
}
_OWN = "a model of its own, or layers rewritten beyond what weights alone show"
_CHANGED = (
    "fine-tuned",
    "re-trained",
    "averaged",
    "noise added",
    "low-rank change",
    "components removed",
)


def explain(layers: Sequence[LayerFinding], plain: dict[str, float]) -> tuple[Explanation, ...]:
    """Rank explanations of a suspect.

    Args:
        layers: what was found of each weight.
        plain: of each weight that could be compared as it stands, the bits that the change takes if
            nothing but a change of values is assumed.

    Returns:
        What was found; that only values changed; that the suspect is an independent model. The
        shortest first, and of equal ones the first of these.
    """
    there = [layer for layer in layers if layer.word not in ("missing", "added")]
    sizes = {layer.name: _size(layer) for layer in there}
    total = sum(sizes.values())
    if not total:
        return ()
    found = sum(sizes[x.name] * (x.bits_per_weight or 0.0) for x in there) / total
    every = sum(plain.get(x.name, PRECISION * sizes[x.name]) for x in there) / total
    ways = [Explanation(words=_words(layers), bits_per_weight=found)]
    if any({"permuted", "rescaled", "sign-flipped", "pruned", "quantized", "cast"} & set(x.kinds)
           for x in there):  # fmt: skip
        ways.append(
            Explanation(words="the values changed, and nothing else", bits_per_weight=every)
        )
    if any(x.word != "unrelated" for x in there):
        ways.append(Explanation(words=_OWN, bits_per_weight=float(PRECISION)))
    return tuple(sorted(ways, key=lambda way: way.bits_per_weight))


def _size(layer: LayerFinding) -> int:
    size = 1
    for side in layer.shape:
        size *= side
    return size


def _words(layers: Sequence[LayerFinding]) -> str:
    there = [layer for layer in layers if layer.word not in ("missing", "added")]
    counts = Counter(layer.word for layer in layers)
    ends = [f"{counts[word]} layers {word}" for word in ("missing", "added") if counts[word]]
    if counts["identical"] == len(there):
        return "; ".join(["all layers are identical", *ends])
    if counts["unrelated"] == len(there):
        return "; ".join([f"{_OWN}: no layer is nearer than chance", *ends])
    by_kind: dict[str, list[LayerFinding]] = defaultdict(list)
    for layer in there:
        for kind in layer.kinds:
            if layer.word == "changed":
                by_kind[kind].append(layer)
    steps = [
        _step(kind, by_kind[kind], len(there)) for kind in get_args(OperationKind) if by_kind[kind]
    ]
    said = ", then ".join(steps)
    if counts["unrelated"]:
        some = [layer.name for layer in there if layer.word == "unrelated"]
        ends.insert(0, f"{_in(len(some), len(there))} replaced ({_some(some)})")
    if counts["identical"]:
        ends.append(f"{counts['identical']} of {len(there)} layers identical")
    return "; ".join(part for part in (said, *ends) if part)


def _step(kind: str, layers: Sequence[LayerFinding], total: int) -> str:
    where = _in(len(layers), total) if len(layers) > 1 or total == 1 else f"in {layers[0].name}"
    figures = ""
    if kind in _CHANGED:
        changes = [layer.change for layer in layers if layer.change is not None]
        figures = f"median relative change {statistics.median(changes):.2g}"
        ranks = [layer.rank for layer in layers if layer.rank is not None]
        if ranks and kind in ("low-rank change", "components removed"):
            figures = f"rank {max(ranks)} at most, {figures}"
        if kind == "averaged":
            shares = [layer.kept for layer in layers if layer.kept is not None]
            figures = f"{statistics.median(shares):.2f} of the reference is left"
    elif kind == "pruned":
        figures = f"{statistics.median(layer.zeros for layer in layers):.0%} zeros in the median"
    elif kind in ("cast", "quantized"):
        details = Counter(o.detail for x in layers for o in x.operations if o.kind == kind)
        figures = details.most_common(1)[0][0]
    return f"{_VERBS[kind]} {where}" + (f" ({figures})" if figures else "")


def _in(count: int, total: int) -> str:
    return f"in all {total} layers" if count == total else f"in {count} of {total} layers"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
