"""Grids that weights lie on: narrow floating-point formats, and integers times a scale."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Grid", "find_grid"]

# Narrow first: whatever fits e5m2 fits fp16 as well.
_FORMATS: tuple[tuple[str, torch.dtype, int, int], ...] = (
    ("fp8 e5m2", torch.float8_e5m2, 2, -14),
    ("fp8 e4m3", torch.float8_e4m3fn, 3, -6),
    ("bf16", torch.bfloat16, 7, -126),
    ("fp16", torch.float16, 10, -14),
)
_GROUPS = (32, 64, 128)
_LEAST = 16  # weights below which anything fits
_OFF = 2e-3  # of a step: what rounding to single precision leaves of a grid
_MOST_BITS = 8
_SAMPLE = 2_048


@dataclass(frozen=True)
class Grid:
    """A grid that a weight lies on.

    Attributes:
        name: for people, such as ``"int8 per channel"`` or ``"bf16"``.
        step: distance of neighbouring values, of the weight's shape ``(O, I, K)``.
    """

    name: str
    step: Tensor


def find_grid(weight: Tensor, axes: tuple[int, ...] = (0,)) -> Grid | None:
    """The coarsest known grid that all values of a weight lie on.

    Known are bf16, fp16, both fp8 formats; and 2 … 8 bits with one scale for the tensor, for each
    row, or for groups of 32, 64 or 128 weights of a row: symmetric grids that the largest magnitude
    spans, and, for tensor and rows, any evenly spaced one (with an offset).

    Args:
        weight: ``(O, I, K)``, float32.
        axes: dimensions that may have a scale each: 0 for rows, 1 for columns.

    Returns:
        The grid; None for full precision, or for too few different values to tell.

    Example:
        >>> rows = torch.randn(8, 4, 9, generator=torch.Generator().manual_seed(0))
        >>> scale = rows.abs().amax((1, 2), keepdim=True) / 127
        >>> find_grid((rows / scale).round() * scale).name
        'int8 per channel'
    """
    if int((weight != 0).sum()) < _LEAST or not bool(weight.isfinite().all()):
        return None
    # Small values in fp8 are evenly spaced as well, and an integer grid in bf16 is one of integers.
    return _floats(weight, _FORMATS[:2]) or _integers(weight, axes) or _floats(weight, _FORMATS[2:])


def _floats(weight: Tensor, formats: tuple[tuple[str, torch.dtype, int, int], ...]) -> Grid | None:
    few = weight[:1]  # tells full precision apart at once
    for name, dtype, fraction, least in formats:
        if _stored(few, dtype) and _stored(weight, dtype):
            exponents = weight.abs().clamp_min(2.0**least).log2().floor()
            return Grid(name, torch.exp2(exponents - fraction))
    return None


def _stored(weight: Tensor, dtype: torch.dtype) -> bool:
    return bool((weight.to(dtype).float() == weight).all())


def _integers(weight: Tensor, axes: tuple[int, ...]) -> Grid | None:
    found = []
    for where, lines in _lines(weight, axes):
        bits, step = _spanned(lines)
        if bits is None and where in ("per tensor", "per channel"):
            bits, step = _even(lines)
        if bits is not None and step is not None:
            found.append((bits, where, step))
    if not found:
        return None
    bits, where, step = min(found, key=lambda each: each[0])
    return Grid(f"{'int8' if bits == _MOST_BITS else f'{bits} bits'} {where}",
                _spread(step, weight, where))  # fmt: skip


def _lines(weight: Tensor, axes: tuple[int, ...]) -> Iterator[tuple[str, Tensor]]:
    """The weights that share a scale, one line each."""
    rows = weight.flatten(1)
    yield "per tensor", rows.reshape(1, -1)
    if 0 in axes and len(rows) > 1:
        yield "per channel", rows
        width = rows.shape[1]
        for group in _GROUPS:
            if width > group:
                padded = torch.nn.functional.pad(rows, (0, -width % group))
                yield f"in groups of {group}", padded.reshape(-1, group)


def _spread(step: Tensor, weight: Tensor, where: str) -> Tensor:
    """A line's step for each of its weights."""
    rows = weight.flatten(1)
    if where == "per tensor":
        return step.expand(rows.shape).reshape(weight.shape)
    if where == "per channel":
        return step[:, None].expand(rows.shape).reshape(weight.shape)
    group = int(where.rsplit(" ", 1)[1])
    of_rows = step.reshape(len(rows), -1).repeat_interleave(group, 1)[:, : rows.shape[1]]
    return of_rows.reshape(weight.shape)


def _spanned(lines: Tensor) -> tuple[int | None, Tensor | None]:
    """Symmetric grids whose last level is the largest magnitude."""
    largest = lines.abs().amax(1)
    speaking = largest > 0
    # Few lines say enough in most cases: full precision fails on the first.
    few = lines[speaking][:4]
    for bits in range(2, _MOST_BITS + 1):
        step = largest / (2 ** (bits - 1) - 1)
        if _fits(few, step[speaking][:4]) and _fits(lines, step):
            return (bits, step) if _surprising(lines, bits) else (None, None)
    return None, None


def _fits(lines: Tensor, step: Tensor) -> bool:
    levels = lines / torch.where(step > 0, step, 1.0)[:, None]
    return bool(((levels - levels.round()).abs() <= _OFF).all())


def _surprising(lines: Tensor, bits: int) -> bool:
    """Whether enough weights lie on the grid that luck is out of the question."""
    levels = 2**bits
    shared = int((lines != 0).sum()) - len(lines)
    return shared >= _LEAST // 2 and len(lines.flatten()) > levels**0.5


def _even(lines: Tensor) -> tuple[int | None, Tensor | None]:
    """Evenly spaced values of each line, wherever they begin."""
    steps, most = [], 0
    for line in lines:
        if len(line[:_SAMPLE].unique()) > 2**_MOST_BITS:
            return None, None
        different = line.unique()
        if len(different) > 2**_MOST_BITS or len(different) * 1.2 > line.numel():
            return None, None
        if len(different) < 3:
            return None, None
        gap = different.diff()
        step = gap.min()
        levels = gap / step
        if bool(((levels - levels.round()).abs() > 25 * _OFF).any()):
            return None, None
        most = max(most, round(float(levels.round().sum())))
        steps.append((different[-1] - different[0]) / levels.round().sum())
    bits = max(2, math.ceil(math.log2(most + 1)))
    return (bits, torch.stack(steps)) if bits <= _MOST_BITS else (None, None)
