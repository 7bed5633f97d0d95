"""A weighted operation of an ONNX graph, computed from what it reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from modeldeed.alignment.onnx_nodes import Node
from modeldeed.alignment.recording import Operation, places, rows_in_front, sampled

__all__ = ["operation_of"]

_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: dict[int, Callable[..., Tensor]] = {
    1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d
}  # fmt: skip


def operation_of(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None) -> Operation | None:
    """What a node reads and writes, as `modeldeed.alignment.recording.record` would keep it.

    Args:
        node: says which operation.
        x: what it reads, whole, float32.
        weight: as the graph has it, float32.
        bias: likewise; None for none.

    Returns:
        The operation; None for one that no layer of a reference is.

    Raises:
        ValueError, TypeError, RuntimeError, IndexError: the node contradicts itself.
    """
    if node.kind == "product":
        return _product(node, x, weight, bias)
    spatial = weight.dim() - 2
    if spatial not in _CONVOLUTIONS or x.dim() != spatial + 2:
        return None
    stride, dilation = (_numbers(node, n, [1] * spatial) for n in ("strides", "dilations"))
    groups = max(1, int(node.attributes.get("group", 1)))
    if node.kind == "transposed":
        out = _transposed(node, x, weight, stride, dilation, groups)
        rows, padded = rows_in_front(weight, groups), True
    else:
        pads = _pads(node, x, weight, stride, dilation)
        out = _CONVOLUTIONS[spatial](_around(x, pads), weight, None, stride, 0, dilation, groups)
        rows, padded = weight, any(pads)
    ones = all(n == 1 for n in (*weight.shape[2:], *stride, *dilation))
    return Operation(
        weight=rows,
        name=node.called,
        bias=_one_each(bias, len(rows)),
        inputs=sampled(x.movedim(1, -1)),
        outputs=sampled(out.movedim(1, -1)),
        geometry=(places(x, 1), places(out, 1)),
        pointwise=ones and not padded,
        groups=groups,
    )


def _product(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None) -> Operation | None:
    if weight.dim() != 2 or x.dim() < 2:
        return None
    weight = weight * float(node.attributes.get("alpha", 1.0))
    rows = weight if node.attributes.get("transB") else weight.mT
    x = x.reshape(-1, x.shape[-1])
    out = x @ rows.mT
    return Operation(
        weight=rows.contiguous(),
        name=node.called,
        bias=_one_each(bias, len(rows)),
        inputs=sampled(x),
        outputs=sampled(out),
        geometry=(places(x, 1), places(out, 1)),
        pointwise=True,
    )


def _one_each(bias: Tensor | None, count: int) -> Tensor | None:
    if bias is None or bias.numel() not in (1, count):
        return None
    return bias.reshape(-1).expand(count)


def _numbers(node: Node, name: str, otherwise: list[int]) -> list[int]:
    found = node.attributes.get(name)
    numbers = [int(n) for n in found] if isinstance(found, list) else otherwise
    if len(numbers) != len(otherwise) or any(not -(2**12) <= n <= 2**12 for n in numbers):
        raise ValueError(f"{name} of a convolution are {len(numbers)} numbers, or too large")
    return numbers


def _automatic(node: Node) -> str:
    value: Any = node.attributes.get("auto_pad", b"NOTSET")
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


def _pads(
    node: Node, x: Tensor, weight: Tensor, stride: list[int], dilation: list[int]
) -> list[int]:
    """All beginnings, then all ends, as in the operator set."""
    spatial, how = weight.dim() - 2, _automatic(node)
    if how not in ("SAME_UPPER", "SAME_LOWER"):
        return _numbers(node, "pads", [0] * (2 * spatial)) if how == "NOTSET" else [0] * 2 * spatial
    begins, ends = [], []
    for size, kernel, step, width in zip(
        x.shape[2:], weight.shape[2:], stride, dilation, strict=True
    ):
        total = max(0, (-(-size // step) - 1) * step + (kernel - 1) * width + 1 - size)
        less, more = total // 2, total - total // 2
        begins.append(less if how == "SAME_UPPER" else more)
        ends.append(more if how == "SAME_UPPER" else less)
    return begins + ends


def _around(x: Tensor, pads: list[int]) -> Tensor:
    """Zeros around, or what is too much taken away."""
    half = len(pads) // 2
    flat = [n for d in reversed(range(half)) for n in (pads[d], pads[half + d])]
    return F.pad(x, flat) if any(flat) else x


def _transposed(
    node: Node, x: Tensor, weight: Tensor, stride: list[int], dilation: list[int], groups: int
) -> Tensor:
    spatial = weight.dim() - 2
    if _automatic(node) != "NOTSET" or "output_shape" in node.attributes:
        raise ValueError("a transposed convolution pads itself automatically")
    pads = _numbers(node, "pads", [0] * (2 * spatial))
    more = _numbers(node, "output_padding", [0] * spatial)
    whole = _TRANSPOSED[spatial](x, weight, None, stride, 0, 0, groups, dilation)
    ends = [m - end for m, end in zip(more, pads[spatial:], strict=True)]
    return _around(whole, [-begin for begin in pads[:spatial]] + ends)
