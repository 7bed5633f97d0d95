"""Whether a suspect's files and tensors are the registered ones, bit by bit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from modeldeed.deed import Deed
from modeldeed.deed.checking import model_word
from modeldeed.deed.hashing import digest_model
from modeldeed.digests import tensor_root
from modeldeed.errors import EvidenceError, SuspectError
from modeldeed.inspecting.results import FileWord, Tampering, TensorChange
from modeldeed.suspects import Weights

__all__ = ["require_deeds_model", "tampering_of"]

_WORDS: dict[str, FileWord] = {
    "its files": "the same files",
    "its tensors": "the same tensors",
    "another model": "other tensors",
}


def require_deeds_model(deed: Deed, reference: str | Path) -> None:
    """Refuse a reference that is not the deed's model.

    Raises:
        EvidenceError: neither its files nor its tensors are those that the deed names.
        SuspectError: it cannot be read.
    """
    if model_word(deed.statement, reference) == "another model":
        raise EvidenceError(
            f"{reference} is not the model that the deed names: neither files nor tensors fit; "
            "give the model as it was registered"
        )


def tampering_of(
    suspect: str | Path | None,
    weights: Weights,
    deed: Deed | None,
    known: tuple[Weights, Weights, Mapping[str, str]] | None = None,
) -> Tampering:
    """Compare digests, and where there is a reference every tensor.

    Args:
        suspect: its path; None for tensors in memory.
        weights: the same, opened.
        deed: what was registered; None compares with the reference.
        known: the suspect under names that can be compared, the reference, and the suspect's names
            by the reference's; None compares digests only.
    """
    root = _root(suspect, weights)
    identical, changes = (None, ()) if known is None else _compared(*known)
    if deed is not None:
        word: FileWord = "the same tensors" if root == deed.statement.tensor_root else (
            "other tensors"
        )  # fmt: skip
        if suspect is not None:
            word = _WORDS[model_word(deed.statement, suspect)]
    else:
        assert known is not None
        word = "the same tensors" if root == _root(None, known[1]) else "other tensors"
        if word == "the same tensors" and weights.digest() == known[1].digest():
            word = "the same files"
    return Tampering(
        word=word,
        against="reference" if deed is None else "deed",
        tensor_root=root,
        identical=identical,
        changes=tuple(changes),
    )


def _root(suspect: str | Path | None, weights: Weights) -> str:
    try:
        if suspect is not None:
            return digest_model(suspect).tensor_root
        return tensor_root((name, weights.tensor(name)) for name in weights.names()).hex()
    except EvidenceError as error:
        raise SuspectError(f"{weights.label} has no tensor root: {error}") from error


def _compared(
    weights: Weights, reference: Weights, names: Mapping[str, str]
) -> tuple[int, tuple[TensorChange, ...]]:
    identical, changes = 0, []
    for name in reference.names():
        if name not in names:
            changes.append(TensorChange(name=name, what="missing"))
            continue
        found = _change(name, reference.tensor(name), weights.tensor(names[name]))
        if found is None:
            identical += 1
        else:
            changes.append(found)
    known = set(names.values())
    changes += [TensorChange(name=n, what="added") for n in weights.names() if n not in known]
    return identical, tuple(changes)


def _change(name: str, before: Tensor, after: Tensor) -> TensorChange | None:
    if before.shape != after.shape:
        return TensorChange(name=name, what="shape")
    if before.dtype == after.dtype and _same_bytes(before, after):
        return None
    try:
        one, two = before.double(), after.double()
    except (RuntimeError, TypeError):
        return TensorChange(name=name, what="type" if before.dtype != after.dtype else "values")
    size = float(one.norm())
    distance = float((two - one).norm())
    change = distance / size if size > 0 and math.isfinite(distance / size) else None
    if before.dtype != after.dtype:
        return TensorChange(name=name, what="type", change=change)
    return TensorChange(name=name, what="values", change=change)


def _same_bytes(before: Tensor, after: Tensor) -> bool:
    one, two = (t.contiguous().reshape(-1).view(torch.uint8) for t in (before, after))
    return bool(torch.equal(one, two))
