"""What carriers and indices must be."""

from __future__ import annotations

import torch
from torch import Tensor

from modeldeed.anchor.plugin_rule import BackgroundInput
from modeldeed.anchor.trigger_rule import ImageInput, PointInput
from modeldeed.errors import OptionError

__all__ = ["check_carriers", "check_index", "check_indices", "shape_of"]

_WORDS = {
    "image": "uint8 images (N, C, H, W)",
    "points": "int16 clouds (N, P, 3) in units of 2**-15",
    "audio": "int16 sound (N, L)",
}


def shape_of(form: BackgroundInput) -> tuple[int, ...]:
    """The shape of one canonical sample."""
    if isinstance(form, ImageInput):
        return form.channels, form.height, form.width
    return (form.points, 3) if isinstance(form, PointInput) else (form.samples,)


def check_carriers(carriers: Tensor, form: BackgroundInput) -> None:
    """Refuse what is no batch of canonical carriers of this form.

    Raises:
        OptionError: it is no tensor, or of another dtype or shape.
    """
    dtype = torch.uint8 if form.kind == "image" else torch.int16
    if not isinstance(carriers, Tensor):
        raise OptionError(f"carriers must be a tensor of {_WORDS[form.kind]}, got {carriers!r:.80}")
    if carriers.dtype != dtype:
        raise OptionError(f"carriers must be {_WORDS[form.kind]}, got dtype {carriers.dtype}")
    if tuple(carriers.shape[1:]) != shape_of(form) or carriers.ndim < 2:
        sizes = ", ".join(map(str, shape_of(form)))
        raise OptionError(
            f"carriers must have the shape (N, {sizes}) that the rule is made for, "
            f"got {tuple(carriers.shape)}; resize or cut them first"
        )


def check_indices(indices: Tensor, samples: int, count: int) -> list[int]:
    """The indices as numbers.

    Args:
        indices: int64 ``(N,)``.
        samples: N.
        count: M; indices lie on 0 … M − 1.

    Raises:
        OptionError: they are no such tensor, or out of range.
    """
    if not isinstance(indices, Tensor) or indices.dtype != torch.int64:
        got = indices.dtype if isinstance(indices, Tensor) else type(indices).__name__
        raise OptionError(f"indices must be an int64 tensor, one for each carrier, got {got}")
    if tuple(indices.shape) != (samples,):
        raise OptionError(
            f"indices must have the shape ({samples},), one for each carrier, "
            f"got {tuple(indices.shape)}"
        )
    numbers: list[int] = indices.tolist()
    for number in {*numbers}:
        check_index(number, count)
    return numbers


def check_index(index: int, count: int) -> None:
    """Refuse what numbers no background.

    Raises:
        OptionError: it is no integer on 0 … count − 1.
    """
    if not isinstance(index, int) or not 0 <= index < count:
        raise OptionError(f"backgrounds are numbered 0 … {count - 1}, got {index!r}")
