"""What a model's input looks like, told from an example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from modeldeed.anchor.trigger_rule import (
    AudioInput,
    ImageInput,
    PointInput,
    TokenInput,
    TriggerInput,
)
from modeldeed.errors import OptionError
from modeldeed.suspects.answering.preparation import Preparation

__all__ = ["form_of", "preparation_of"]

_COORDINATES = 3


def form_of(example: Any, vocabulary: tuple[int, int] | None = None) -> TriggerInput:
    """The form of a trigger for a model that takes such inputs.

    Args:
        example: images ``(N, C, H, W)``, points ``(N, P, 3)`` or ``(N, 3, P)``, sound ``(N, L)``
            or ``(N, 1, L)``, or tokens ``(N, L)`` as integers; a mapping with ``input_ids``.
        vocabulary: of tokens: the first ordinary number and the one after the last.

    Raises:
        OptionError: it has another form, tokens come without a vocabulary, or a size is out of
            range.

    Example:
        >>> import torch
        >>> form_of(torch.rand(2, 1, 8, 8))
        ImageInput(kind='image', channels=1, height=8, width=8)
    """
    tensor = _tensor_of(example)
    try:
        return _form(tensor, vocabulary)
    except ValidationError as error:
        fault = error.errors()[0]
        raise OptionError(
            f"nothing can be keyed in inputs of shape {tuple(tensor.shape)}: "
            f"{fault['loc'][-1]}: {fault['msg']}"
        ) from error


def _form(tensor: Tensor, vocabulary: tuple[int, int] | None) -> TriggerInput:
    shape = tuple(tensor.shape)
    if not tensor.is_floating_point() and len(shape) == 2:
        if vocabulary is None:
            raise OptionError(
                "tokens need vocabulary=(first, end): the first number of an ordinary token and "
                "the one after the last"
            )
        return TokenInput(length=shape[1], lowest=vocabulary[0], vocabulary=vocabulary[1])
    if len(shape) == 4:
        return ImageInput(channels=shape[1], height=shape[2], width=shape[3])
    if len(shape) == 3 and shape[1] == 1:
        return AudioInput(samples=shape[2])
    if len(shape) == 3 and _COORDINATES in shape[1:]:
        return PointInput(points=shape[1] if shape[2] == _COORDINATES else shape[2])
    if len(shape) == 2:
        return AudioInput(samples=shape[1])
    raise OptionError(
        f"no triggers are known for inputs of shape {shape} and type {tensor.dtype}; there are "
        "images (N, C, H, W), points (N, P, 3), sound (N, L) and tokens (N, L) as integers"
    )


def preparation_of(example: Any) -> Preparation:
    """The plain preparation that gives a canonical batch the layout of an example.

    Raises:
        OptionError: it is no tensor, and no mapping with ``input_ids``.
    """
    tensor = _tensor_of(example)
    shape = tuple(tensor.shape)
    points_first = len(shape) == 3 and shape[2] != _COORDINATES and shape[1] == _COORDINATES
    return Preparation(
        points="N3P" if points_first else "NP3",
        audio="N1L" if len(shape) == 3 and shape[1] == 1 else "NL",
        tokens="mapping" if isinstance(example, Mapping) else "ids",
    )


def _tensor_of(example: Any) -> Tensor:
    found = example.get("input_ids") if isinstance(example, Mapping) else example
    if isinstance(found, tuple | list) and len(found) == 1:
        found = found[0]
    if not isinstance(found, Tensor):
        raise OptionError(
            "the example is a tensor of inputs or a mapping with 'input_ids', got a "
            f"{type(example).__name__}"
        )
    return found
