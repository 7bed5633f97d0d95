"""Weights that are stored as integers times scales, in the layouts of common quantizers.

For a weight ``layer.weight``: 8-bit values under that name, or under ``layer.weight._data``; and
one scale, for the whole tensor or for each entry of its first dimension. A scale for blocks
within an entry, an offset (zero point) and values packed several to a byte are refused.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from modeldeed.errors import SuspectError

if TYPE_CHECKING:
    from modeldeed.suspects.weights import Weights

__all__ = ["NARROW", "Stored", "stored_tensor", "storing_name"]

_DATA = "._data"
NARROW = (torch.int8, torch.float8_e4m3fn, torch.float8_e5m2)


@dataclass(frozen=True)
class Stored:
    """A weight as it is stored, and how to make its values from it.

    Attributes:
        tensor: the data.
        scale: factors of the entries of its first dimension, shape ``(tensor.shape[0],)``,
            float64; None for nothing.
        undone: what using it undoes, for people.
    """

    tensor: Tensor
    scale: Tensor | None
    undone: tuple[str, ...]

    def values(self) -> Tensor:
        """The weight's real values: a copy in float32 where there is a scale."""
        if self.scale is None:
            return self.tensor
        return (self.tensor.double() * _leading(self.scale, self.tensor.dim())).float()


def _leading(scale: Tensor, dim: int) -> Tensor:
    return scale.reshape(-1, *[1] * (dim - 1))


def storing_name(name: str, names: AbstractSet[str]) -> str | None:
    """The tensor that holds a weight's data: of its name, or of a quantizer's; None if neither."""
    return next((n for n in (name, name + _DATA) if n in names), None)


def stored_tensor(weights: Weights, name: str, names: AbstractSet[str]) -> Stored:
    """Look up a weight and the scale that belongs to it.

    Args:
        weights: the suspect.
        name: of the weight; its data are there.
        names: all names of the suspect.

    Returns:
        Its data and scale.

    Raises:
        SuspectError: it is neither floating point nor in a layout that can be undone.
    """
    where = storing_name(name, names) or name
    tensor = weights.tensor(where)
    if tensor.layout is not torch.strided or tensor.device.type != "cpu":
        raise SuspectError(f"{weights.label}: {name} is no dense tensor with values; convert it")
    scale_name = _companion(weights, name, names, _SCALES) if tensor.dtype in NARROW else None
    if scale_name is None:
        if not tensor.is_floating_point():
            raise SuspectError(
                f"{weights.label}: {name} is {tensor.dtype}, not floating point, and no scale "
                "beside it is known; restore its real values (integer times scale) before reading"
            )
        return Stored(tensor, None, _widened(weights, name, tensor))
    _refuse_offsets(weights, name, names)
    kind = str(tensor.dtype).removeprefix("torch.")
    return Stored(
        tensor,
        _scale(weights, name, scale_name, tensor.shape),
        (f"{kind} multiplied with its scale",),
    )


def _layouts(*suffixes: str, beside: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return suffixes, beside


# Behind the weight's name; and in place of its last part.
_SCALES = _layouts("_scale", ".scale", "._scale", "_scale_inv", beside=("scale", "SCB"))
_OFFSETS = _layouts("_zero_point", ".zero_point", "._shift", beside=("zero_point", "weight_format"))


def _named(
    name: str, names: AbstractSet[str], layouts: tuple[tuple[str, ...], tuple[str, ...]]
) -> list[str]:
    module, dot, _ = name.rpartition(".")
    candidates = [name + suffix for suffix in layouts[0]]
    candidates += [f"{module}{dot}{last}" for last in layouts[1]]
    return [candidate for candidate in candidates if candidate in names and candidate != name]


def _companion(
    weights: Weights,
    name: str,
    names: AbstractSet[str],
    layouts: tuple[tuple[str, ...], tuple[str, ...]],
) -> str | None:
    found = _named(name, names, layouts)
    if len(found) > 1:
        raise SuspectError(
            f"{weights.label}: {name} has {len(found)} scales, {' and '.join(found)}; restore its "
            "real values before reading"
        )
    return found[0] if found else None


def _refuse_offsets(weights: Weights, name: str, names: AbstractSet[str]) -> None:
    for other in _named(name, names, _OFFSETS):
        offset = weights.tensor(other)
        if offset.numel() and bool((offset != 0).any()):
            raise SuspectError(
                f"{weights.label}: {name} is stored with an offset or in a special order "
                f"({other} is not zero); restore its real values before reading"
            )


def _scale(weights: Weights, name: str, scale_name: str, shape: torch.Size) -> Tensor:
    scale = weights.tensor(scale_name)
    entries = shape[0] if shape else 1
    whole = scale.numel() == 1
    by_entry = scale.dim() >= 1 and scale.numel() == scale.shape[0] == entries
    if not scale.is_floating_point() or not (whole or by_entry):
        raise SuspectError(
            f"{weights.label}: {scale_name} of shape {tuple(scale.shape)}, {scale.dtype}, is no "
            f"scale for {name} of shape {tuple(shape)} as a whole or for each entry of its first "
            "dimension (scales of blocks are not undone); restore its real values before reading"
        )
    factors = scale.double().reshape(-1).expand(entries)
    # bitsandbytes keeps the largest magnitude of each row.
    return factors / 127 if scale_name.endswith("SCB") else factors


def _widened(weights: Weights, name: str, tensor: Tensor) -> tuple[str, ...]:
    """Make sure that the values can be read; say so where they are narrower than usual."""
    try:
        tensor.reshape(-1)[:1].to(torch.float64)
    except (RuntimeError, TypeError) as error:
        raise SuspectError(f"{weights.label}: {name}, {tensor.dtype}: {error}") from error
    if tensor.dtype in (torch.float32, torch.float64):
        return ()
    return (f"{str(tensor.dtype).removeprefix('torch.')} widened",)
