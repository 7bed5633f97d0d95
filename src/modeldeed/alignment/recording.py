"""What the weighted operations of a model read and write while it is probed.

A dispatch mode sees every convolution and matrix product with a weight, whatever module it stands
in and however that is called. Of each a fixed number of positions is kept: as many numbers for each
channel, whatever the size of the inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from modeldeed.errors import SuspectError
from modeldeed.passport.host.host_trace import quietly
from modeldeed.passport.host.reach import as_call

__all__ = ["SAMPLES", "Operation", "places", "record", "rows_in_front", "sampled"]

SAMPLES = 512


@dataclass(eq=False)
class Operation:
    """One weighted operation.

    Attributes:
        weight: ``(out, in / groups, *kernel)``, as it was used.
        name: the parameter's name; empty for a weight that was computed.
        bias: ``(out,)``; None without one.
        inputs: what it read at some positions, ``(n, in)``, float32.
        outputs: the same of what it wrote, less its bias, ``(m, out)``.
        geometry: shapes of what it read and wrote, without channels: only operations of the same
            geometry saw the same positions.
        pointwise: whether every output position is a product with one input position.
        groups: of a convolution.
        turned: whether the layer holds ``(in, out)``, as a transposed convolution does.
        of: the names of the weights it was multiplied from.
    """

    weight: Tensor
    name: str
    bias: Tensor | None
    inputs: Tensor
    outputs: Tensor
    geometry: tuple[tuple[int, ...], tuple[int, ...]]
    pointwise: bool
    groups: int = 1
    turned: bool = False
    of: tuple[str, ...] = field(default=())

    @property
    def transposed(self) -> bool:
        """Whether it is a transposed convolution."""
        return self.turned and self.weight.dim() > 2

    def rows_of(self, stored: Tensor) -> Tensor:
        """A weight in the layout of `weight`, from that in which the layer holds it."""
        if not self.turned:
            return stored
        return rows_in_front(stored, self.groups) if stored.dim() > 2 else stored.mT

    def stored(self, weight: Tensor) -> Tensor:
        """The inverse of `rows_of`, which is its own."""
        return self.rows_of(weight)

    @property
    def called(self) -> str:
        """For people: the weights that it was made of."""
        return " · ".join(self.of or (self.name or "a computed weight",))


Replace = Callable[[str], Tensor | None]


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, model: nn.Module, replaced: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.stored = dict(model.named_parameters())
        self.names = {tensor.data_ptr(): name for name, tensor in self.stored.items()}
        self.replaced = replaced
        self.found: list[Operation] = []
        self.done: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func.overloadpacket.__name__
        if packet == "convolution":
            self.convolution(func, args, out)
        elif packet == "mm" or (packet == "addmm" and not kwargs):
            self.product(args, out)
        return out

    def name_of(self, weight: Tensor) -> str:
        return self.names.get(weight.data_ptr(), "")

    def convolution(self, func: Any, args: Any, out: Tensor) -> None:
        x, weight, bias, stride, padding, dilation, transposed, _, groups = args
        name = self.name_of(weight)
        if name in self.done:
            return
        self.done |= {name} - {""}
        if name in self.replaced:
            instead = self.replaced[name].to(weight)
            out, bias_of_out = func(x, instead, None, *args[3:]), None
        else:
            bias_of_out = bias
        kernel = tuple(weight.shape[2:])
        ones = all(k == 1 for k in kernel) and all(s == 1 for s in stride)
        rows = rows_in_front(weight, groups) if transposed else weight
        self.found.append(
            Operation(
                weight=rows.detach(),
                name=name,
                bias=None if bias is None else bias.detach(),
                inputs=sampled(x.movedim(1, -1)),
                outputs=_without(sampled(out.movedim(1, -1)), bias_of_out),
                geometry=(places(x, 1), places(out, 1)),
                pointwise=ones and not any(padding) and all(d == 1 for d in dilation),
                groups=groups,
                turned=transposed,
            )
        )

    def product(self, args: Any, out: Tensor) -> None:
        bias = args[0] if len(args) == 3 else None
        x, right = args[-2:]
        name = self.name_of(right)
        if name in self.done or (bias is not None and bias.dim() != 1):
            return
        self.done |= {name} - {""}
        # Most layers hold (out, in); one that holds (in, out) is multiplied as it is stored.
        stored = self.stored.get(name)
        turned = stored is not None and stored.stride() == right.stride()
        weight = right.mT
        if name in self.replaced:
            instead = self.replaced[name].to(weight)
            out, taken = x @ (instead if turned else instead.mT), None
        else:
            taken = bias
        self.found.append(
            Operation(
                weight=weight.detach(),
                name=name,
                bias=None if bias is None else bias.detach(),
                inputs=sampled(x),
                outputs=_without(sampled(out), taken),
                geometry=(places(x, 1), places(out, 1)),
                pointwise=True,
                turned=turned,
            )
        )


def places(x: Tensor, dim: int) -> tuple[int, ...]:
    """The shape without one dimension."""
    return tuple(size for d, size in enumerate(x.shape) if d != dim)


def rows_in_front(weight: Tensor, groups: int) -> Tensor:
    """A transposed convolution's weight as a convolution holds one.

    Args:
        weight: ``(in, out / groups, *kernel)``.
        groups: of the convolution.

    Returns:
        ``(out, in / groups, *kernel)``.
    """
    parted = weight.reshape(groups, -1, *weight.shape[1:])
    return parted.transpose(1, 2).flatten(0, 1)


def _without(outputs: Tensor, bias: Tensor | None) -> Tensor:
    return outputs if bias is None else outputs - bias.detach().float()


def sampled(x: Tensor) -> Tensor:
    """Some positions of an activation: the same for all of its geometry.

    Args:
        x: channels last.

    Returns:
        ``(n, C)``, float32, n at most 512; NaN and infinities are zeros.
    """
    rows = x.detach().reshape(-1, x.shape[-1])
    if len(rows) > SAMPLES:
        generator = torch.Generator().manual_seed(len(rows))
        chosen = torch.randperm(len(rows), generator=generator)[:SAMPLES].sort().values
        rows = rows.index_select(0, chosen.to(rows.device))
    return torch.nan_to_num(rows.float(), posinf=0.0, neginf=0.0).cpu()


def record(
    model: nn.Module, probes: Any, replaced: Mapping[str, Tensor] | None = None
) -> list[Operation]:
    """Probe a model and keep what its weighted operations read and write.

    Args:
        model: left as it is; run in evaluation mode.
        probes: its inputs: a tensor, a tuple of positional or a dict of keyword arguments.
        replaced: for some weights, by name, others whose products are to be kept in place of their
            own; the model itself goes on with its own.

    Returns:
        Operations in the order in which they first ran.

    Raises:
        SuspectError: the model does not take the probes.
    """
    args, kwargs = as_call(probes)
    recorder = _Recorder(model, replaced or {})
    try:
        with quietly(model), recorder:
            model(*args, **kwargs)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise SuspectError(
            f"{type(model).__name__} cannot be run on the probes of an aligned reading: {error}"
        ) from error
    return recorder.found
