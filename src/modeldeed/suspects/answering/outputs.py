"""What models return, brought to one form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modeldeed.errors import SuspectError
from modeldeed.suspects.answering.suspect import Answers

__all__ = ["answers_of"]

_MENDING = "wrap it in a function that returns scores (N, K), or int64 classes (N,)"


def answers_of(outputs: Any, count: int, label: str) -> Answers:
    """The answers in what a model returned.

    Args:
        outputs: scores ``(N, K)``; classes ``(N,)``, integers; a mapping with ``"logits"``, as the
            outputs of Hugging Face transformers are; a tuple, whose first entry counts; a list of
            classes and None; or `Answers`.
        count: N.
        label: the suspect, for errors.

    Returns:
        Answers on the CPU.

    Raises:
        SuspectError: the outputs have another form, or are of another number.

    Example:
        >>> answers_of((torch.eye(2), "more"), 2, "model").labels
        (0, 1)
    """
    if isinstance(outputs, Answers):
        return outputs
    if _are_classes(outputs):
        return _counted(Answers(tuple(_plain(label_) for label_ in outputs)), count, label)
    found = _tensor_in(outputs, label)
    if found.dim() == 1 and not found.is_floating_point() and found.dtype != torch.bool:
        return _counted(Answers(tuple(found.tolist())), count, label)
    if found.dim() != 2 or not found.is_floating_point() or found.shape[1] < 2:
        raise SuspectError(
            f"{label} returns {found.dtype} of shape {tuple(found.shape)} for {count} samples; "
            + _MENDING
        )
    half = found.dtype not in (torch.float32, torch.float64)
    return _counted(Answers.of(found.to(torch.float32) if half else found), count, label)


def _tensor_in(outputs: Any, label: str) -> Tensor:
    found = outputs
    if isinstance(found, Mapping):
        found = found.get("logits")
    elif isinstance(found, tuple | list) and found:
        found = found[0]
    elif not isinstance(found, Tensor | np.ndarray):
        found = getattr(found, "logits", None)
    if isinstance(found, np.ndarray) and found.dtype.kind in "iuf":
        found = torch.from_numpy(np.ascontiguousarray(found).copy())
    if not isinstance(found, Tensor):
        raise SuspectError(f"{label} returns a {type(outputs).__name__}; {_MENDING}")
    return found.detach().cpu()


def _are_classes(outputs: Any) -> bool:
    return isinstance(outputs, Sequence) and all(
        entry is None or (isinstance(entry, int | np.integer) and not isinstance(entry, bool))
        for entry in outputs
    )


def _plain(entry: Any) -> int | None:
    return None if entry is None else int(entry)


def _counted(answers: Answers, count: int, label: str) -> Answers:
    if len(answers) != count:
        raise SuspectError(f"{label} gave {len(answers)} answers to {count} samples; {_MENDING}")
    return answers
