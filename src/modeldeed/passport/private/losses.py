"""The loss that `Passport.joint_loss` takes when it is given none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from modeldeed.errors import OptionError

__all__ = ["Loss", "default_loss"]

Loss = Callable[[Any, Any], Tensor]
"""``(outputs, targets) -> scalar``, a mean over samples."""


def default_loss(outputs: Any, targets: Any) -> Tensor:
    """Cross-entropy of classes, or the loss that the host computed itself.

    Args:
        outputs: logits ``(N, K)``, ``(N, K, *)`` or, as language models have them, ``(N, T, K)``;
            or a mapping that holds them as ``"logits"``, as the outputs of Hugging Face
            transformers do.
        targets: classes ``(N,)``, ``(N, *)`` or ``(N, T)``, int64; None takes ``outputs["loss"]``.

    Returns:
        A scalar.

    Raises:
        OptionError: the outputs have another form.

    Example:
        >>> import torch
        >>> float(default_loss({"logits": torch.zeros(2, 4)}, torch.tensor([0, 3])))
        1.3862943649291992
    """
    wanted = "loss" if targets is None else "logits"
    if isinstance(outputs, Mapping):
        found = outputs.get(wanted)
        if isinstance(found, Tensor):
            return found if targets is None else _cross_entropy(found, targets)
    if targets is None or not isinstance(outputs, Tensor):
        raise OptionError(f"the host returns {_form(outputs)}; {_MENDING[wanted]}")
    return _cross_entropy(outputs, targets)


_MENDING = {
    "loss": "without targets it has to return a mapping with its own scalar 'loss'; give targets "
    "and, if needed, loss=lambda outputs, targets: ...",
    "logits": "the default loss needs a tensor of logits or a mapping with 'logits'; pass for "
    "example loss=lambda outputs, targets: F.cross_entropy(outputs[0], targets)",
}


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    if logits.dim() > 2 and logits.shape[:-1] == targets.shape != _behind_classes(logits):
        logits, targets = logits.flatten(0, -2), targets.flatten()
    return F.cross_entropy(logits, targets)


def _behind_classes(logits: Tensor) -> tuple[int, ...]:
    return (logits.shape[0], *logits.shape[2:])


def _form(outputs: Any) -> str:
    if isinstance(outputs, Tensor):
        return f"a tensor of shape {tuple(outputs.shape)}"
    if isinstance(outputs, Mapping):
        return f"a mapping with {', '.join(map(repr, outputs)) or 'nothing'}"
    if isinstance(outputs, tuple | list):
        return f"a {type(outputs).__name__} of {len(outputs)}"
    return f"a {type(outputs).__name__}"
