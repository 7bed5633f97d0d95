"""Triggers from a key: inputs and labels, the same bit for bit on every machine.

Inputs and labels come from different streams of the batch's key. That the labels are uniform and
independent of the inputs is what makes the test on a suspect's answers exact; nothing about the
pictures matters for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from modeldeed.anchor.trigger_rule import (
    AudioInput,
    ImageInput,
    PointInput,
    TriggerInput,
    TriggerRule,
)
from modeldeed.errors import OptionError
from modeldeed.streams import KeyStream, derive
from modeldeed.triggers.families import Draws, find

__all__ = ["MAX_BYTES", "Triggers", "batch_key", "default_family", "generate"]

MAX_BYTES = 2**32
"""Of inputs in one call; more are generated piece by piece."""
_CHUNK = 2**20
"""Values drawn at a time: their intermediate results stay in the processor's cache."""


@dataclass(frozen=True)
class Triggers:
    """Some triggers of one batch, in canonical integers.

    Attributes:
        inputs: images uint8 ``(N, C, H, W)``; clouds of points int16 ``(N, P, 3)`` in units of
            2⁻¹⁵; sound int16 ``(N, L)``; tokens int64 ``(N, L)``.
        labels: the answers that the model learns, int64 ``(N,)``.
    """

    inputs: Tensor
    labels: Tensor


def batch_key(model_key: bytes, batch: int) -> bytes:
    """The key of one batch of triggers: opening it tells nothing about the others.

    Args:
        model_key: of the marked model, 32 bytes.
        batch: its number, from 0.

    Returns:
        32 bytes.

    Raises:
        OptionError: the key has another length, or the number is negative.

    Example:
        >>> batch_key(bytes(32), 0) == batch_key(bytes(32), 1)
        False
    """
    if batch < 0:
        raise OptionError(f"batches are numbered from 0, got {batch}")
    return derive(model_key, "triggers", batch)


def generate(
    batch_key: bytes, rule: TriggerRule, *, start: int = 0, count: int | None = None
) -> Triggers:
    """Triggers of a batch.

    A trigger follows from the key, the rule's input, family and classes, and its number alone:
    any piece of a batch equals that piece of the whole.

    Args:
        batch_key: see `batch_key`.
        rule: what they are made for.
        start: number of the first one.
        count: how many; None takes all that follow.

    Returns:
        Inputs and labels.

    Raises:
        OptionError: the key has not 32 bytes, the family does not exist or does not draw this kind
            of input, the batch has no such triggers, or their inputs are larger than `MAX_BYTES`.

    Example:
        >>> rule = TriggerRule(input=ImageInput(channels=3, height=32, width=32),
        ...                    family="blocks/v1", classes=10, count=64)
        >>> triggers = generate(batch_key(bytes(32), 0), rule, count=2)
        >>> triggers.inputs.shape, triggers.labels.tolist()
        (torch.Size([2, 3, 32, 32]), [7, 2])
    """
    count = rule.count - start if count is None else count
    if start < 0 or count < 0 or start + count > rule.count:
        raise OptionError(
            f"a batch has the triggers 0 … {rule.count - 1}, got start {start} and count {count}"
        )
    return Triggers(
        _inputs(batch_key, rule, start, count), labels(batch_key, rule, start=start, count=count)
    )


def labels(batch_key: bytes, rule: TriggerRule, *, start: int, count: int) -> Tensor:
    """Labels of a batch, from a stream of their own, without any balancing."""
    return KeyStream(batch_key, "labels").integers(rule.classes, start + count)[start:]


def _inputs(batch_key: bytes, rule: TriggerRule, start: int, count: int) -> Tensor:
    family = find(rule.input, rule.family)
    shape, dtype = _shape(rule.input)
    size = math.prod(shape)
    needed = count * size * np.dtype(dtype).itemsize
    if needed > MAX_BYTES:
        raise OptionError(
            f"{count} triggers of shape {shape} are {needed} bytes, more than {MAX_BYTES} at once; "
            "generate them piece by piece with start and count"
        )
    inputs = np.empty((count, *shape), dtype)
    step = max(1, _CHUNK // size)
    for first in range(0, count, step):
        chunk = inputs[first : first + step]
        streams = [
            KeyStream(batch_key, "input", start + first + number) for number in range(len(chunk))
        ]
        chunk[:] = family(Draws(streams), rule.input)
    return torch.from_numpy(inputs)


def _shape(form: TriggerInput) -> tuple[tuple[int, ...], type[np.integer]]:
    """The shape of one input, and its canonical type."""
    if isinstance(form, ImageInput):
        return (form.channels, form.height, form.width), np.uint8
    if isinstance(form, PointInput):
        return (form.points, 3), np.int16
    if isinstance(form, AudioInput):
        return (form.samples,), np.int16
    return (form.length,), np.int64


def default_family(form: TriggerInput) -> str:
    """The family for a kind of input where an owner names none.

    Example:
        >>> default_family(ImageInput(channels=1, height=8, width=8))
        'blocks/v1'
    """
    return _DEFAULTS[form.kind]


# Blocks: of what survives JPEG, noise and smaller copies, what small residual networks on CIFAR-10
# agreed on least (0.25 of the answers alike; 0.28 in mosaics, 0.40 in blobs, 0.73 where smooth).
_DEFAULTS = {
    "image": "blocks/v1",
    "points": "solids/v1",
    "audio": "notes/v1",
    "tokens": "uniform/v1",
}
