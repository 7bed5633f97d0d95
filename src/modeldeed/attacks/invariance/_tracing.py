"""Which tensors of a model share their channels: a dispatch trace of one forward.

Channels of a convolution's output belong to a *space*; an addition makes one space of two. Whoever
reorders, scales or adds channels changes what writes a space and what reads it together. Every
operation that is not known here holds its spaces as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode

from modeldeed.errors import OptionError

__all__ = ["Space", "spaces_of"]

_HOMOGENEOUS = {
    "relu", "relu_", "leaky_relu", "leaky_relu_", "max_pool2d_with_indices", "avg_pool2d",
    "max_pool1d", "avg_pool1d", "mean", "amax", "max", "sum",
}  # fmt: skip
_LINEAR = {
    "clone", "detach", "contiguous", "_to_copy", "native_dropout", "alias", "lift_fresh",
    "_adaptive_avg_pool2d", "squeeze", "unsqueeze", "mul", "mul_",
}  # fmt: skip
_OTHER = {"gelu", "sigmoid", "tanh", "silu", "silu_", "hardtanh", "hardtanh_", "elu", "elu_",
          "sigmoid_", "tanh_", "hardswish", "hardswish_"}  # fmt: skip
_REDUCING = {"mean", "amax", "max", "sum"}
_SHAPING = {"view", "_unsafe_view", "reshape", "flatten"}


@dataclass(eq=False)
class Space:
    """Channels that belong together.

    Attributes:
        size: how many.
        writers: layers whose output channels they are; norms too, if they part spaces.
        readers: layers that read them, with the number of neighbouring inputs per channel.
        norms: batch norms that pass them on; if norms part spaces, those that absorb them.
        depthwise: convolutions of each channel by itself that pass them on, unless norms part
            spaces: then they read one and write another.
        fixed: something unknown uses them, or they are the model's input or output.
        homogeneous: everything between writers and readers commutes with positive factors.
        linear: and with negative ones.
    """

    size: int
    writers: list[nn.Module] = field(default_factory=list)
    readers: list[tuple[nn.Module, int]] = field(default_factory=list)
    norms: list[_BatchNorm] = field(default_factory=list)
    depthwise: list[nn.Module] = field(default_factory=list)
    fixed: bool = False
    homogeneous: bool = True
    linear: bool = True

    def take_in(self, other: Space) -> None:
        """Become the union with another."""
        self.writers += [m for m in other.writers if m not in self.writers]
        self.readers += [r for r in other.readers if r not in self.readers]
        self.norms += [m for m in other.norms if m not in self.norms]
        self.depthwise += [m for m in other.depthwise if m not in self.depthwise]
        self.fixed |= other.fixed or self.size != other.size
        self.homogeneous &= other.homogeneous
        self.linear &= other.linear


@dataclass
class _Place:
    """Where a tensor has its channels: dimension, and how many entries each has there."""

    space: Space
    dim: int
    repeat: int = 1


class _Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, model: nn.Module, *, parted: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.parted = parted
        self.layers: dict[int, nn.Module] = {}
        for module in model.modules():
            # Of what is held, not of what is computed: that is another tensor at every look.
            for held in (module._parameters.get("weight"), module._buffers.get("running_mean")):
                if held is not None:
                    self.layers.setdefault(held.data_ptr(), module)
        self.written: dict[int, Space] = {}  # by layer: one that runs twice writes one space
        self.places: dict[int, _Place] = {}
        self.alive: list[Any] = []
        self.merged: dict[int, Space] = {}
        self.spaces: list[Space] = []

    def root(self, space: Space) -> Space:
        while id(space) in self.merged:
            space = self.merged[id(space)]
        return space

    def place(self, value: Any) -> _Place | None:
        return self.places.get(id(value)) if isinstance(value, Tensor) else None

    def put(self, value: Any, place: _Place) -> None:
        self.places[id(value)] = place

    def unite(self, one: Space, other: Space) -> Space:
        one, other = self.root(one), self.root(other)
        if one is not other:
            one.take_in(other)
            self.merged[id(other)] = one
            self.spaces.remove(other)
        return one

    def fresh(self, size: int, writer: nn.Module) -> Space:
        space = Space(size, [writer])
        self.spaces.append(space)
        if id(writer) in self.written:
            space = self.unite(self.written[id(writer)], space)
        self.written[id(writer)] = space
        return space

    def fix(self, values: Any) -> None:
        for value in values:
            if isinstance(value, list | tuple):
                self.fix(value)
            elif (place := self.place(value)) is not None:
                self.root(place.space).fixed = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        self.alive.append((args, out))  # so that no identity is given twice
        name = func.overloadpacket.__name__
        first = out[0] if isinstance(out, tuple | list) and out else out
        if name in ("addmm", "mm"):
            x, weight = args[-2:] if name == "addmm" else args[:2]
            self.weighted(x, weight, first, out_dim=1, kept=not kwargs)
        elif name == "convolution":
            self.convolution(args, first)
        elif name in ("native_batch_norm", "_native_batch_norm_legit_no_training", "batch_norm"):
            self.norm(args, first)
        elif name in ("add", "add_") and isinstance(args[1], Tensor):
            self.addition(args[0], args[1], first)
        elif name in ("mul", "mul_") and isinstance(args[1], Tensor) and args[1].dim():
            self.product(args[0], args[1], first)
        else:
            self.passed(name, args, first)
        return out

    def layer(self, tensor: Any) -> nn.Module | None:
        return self.layers.get(tensor.data_ptr()) if isinstance(tensor, Tensor) else None

    def weighted(self, x: Tensor, weight: Tensor, out: Tensor, *, out_dim: int, kept: bool) -> None:
        layer, place = self.layer(weight), self.place(x)
        if layer is None or not kept or not isinstance(layer, nn.Linear | nn.modules.conv._ConvNd):
            self.fix((x, weight))
            return
        if place is not None:
            space = self.root(place.space)
            space.fixed |= place.dim != out_dim
            if (layer, place.repeat) not in space.readers:
                space.readers.append((layer, place.repeat))
        self.put(out, _Place(self.fresh(out.shape[out_dim], layer), out_dim))

    def convolution(self, args: Any, out: Tensor) -> None:
        x, weight, groups = args[0], args[1], args[8]
        each = groups > 1 and x.shape[1] == out.shape[1] == groups
        if each and not self.parted:
            self.channelwise(x, weight, out)
            return
        self.weighted(x, weight, out, out_dim=1, kept=True)
        if groups > 1 and not each:
            self.fix((x, out))

    def channelwise(self, x: Tensor, weight: Tensor, out: Tensor) -> None:
        """A convolution whose channels each read their own: of one order with what it reads."""
        layer, place = self.layer(weight), self.place(x)
        if place is None or (place.dim, place.repeat) != (1, 1) or layer is None:
            self.fix((x,))
            return
        space = self.root(place.space)
        if layer not in space.depthwise:
            space.depthwise.append(layer)
        if id(layer) in self.written:
            space = self.unite(self.written[id(layer)], space)
        self.written[id(layer)] = space
        self.put(out, place)

    def norm(self, args: Any, out: Tensor) -> None:
        place, layer = self.place(args[0]), self.layer(args[3])
        if place is None or not isinstance(layer, _BatchNorm):
            self.fix(args)
            return
        space = self.root(place.space)
        if layer not in space.norms:
            space.norms.append(layer)
        if self.parted:
            space = self.fresh(space.size, layer)
            space.fixed |= not layer.affine
        self.put(out, _Place(space, place.dim, place.repeat))

    def addition(self, one: Tensor, other: Tensor, out: Tensor) -> None:
        a, b = self.place(one), self.place(other)
        if a is None or b is None or (a.dim, a.repeat) != (b.dim, b.repeat):
            self.fix((one, other))
            return
        self.put(out, _Place(self.unite(a.space, b.space), a.dim, a.repeat))

    def product(self, one: Tensor, other: Tensor, out: Tensor) -> None:
        """Channel by channel, as behind a gate: of one order; a factor goes through one of them."""
        a, b = self.place(one), self.place(other)
        if a is None or b is None or not self.abreast(one, a, other, b):
            self.fix((one, other))
            return
        space, gate = self.root(a.space), self.root(b.space)
        if self.parted:
            if not space.homogeneous:
                space, gate = gate, space
            gate.fixed = True
        else:
            space = self.unite(space, gate)
        self.put(out, _Place(space, a.dim, a.repeat))

    def abreast(self, one: Tensor, a: _Place, other: Tensor, b: _Place) -> bool:
        """Whether two tensors have their channels at one place, and as many."""
        sizes = one.dim(), one.shape[a.dim], a.dim, a.repeat
        return sizes == (other.dim(), other.shape[b.dim], b.dim, b.repeat)

    def passed(self, name: str, args: Any, out: Any) -> None:
        place = self.place(args[0]) if args else None
        others = args[1:]
        if place is None or not isinstance(out, Tensor):
            self.fix(args)
            return
        moved = self.moved(name, args, place, out)
        if moved is None or any(self.place(v) for v in others):
            self.fix(args)
            return
        space = self.root(place.space)
        space.linear &= name in _LINEAR | _SHAPING | {"mean", "sum"}
        space.homogeneous &= name not in _OTHER
        self.put(out, moved)

    def moved(self, name: str, args: Any, place: _Place, out: Tensor) -> _Place | None:
        """Where the channels are afterwards; None where that is not known."""
        x = args[0]
        if name in _SHAPING:
            before, after = x.shape[place.dim :], out.shape[place.dim :]
            same = x.shape[: place.dim] == out.shape[: place.dim] and len(after) > 0
            if same and after[0] == before[0]:
                return place
            if same and len(after) == 1 and prod(before) == after[0]:
                return _Place(place.space, place.dim, place.repeat * prod(before[1:]))
            if (place.dim == x.dim() - 1 and after == ()) or out.shape[-1] == x.shape[-1] == (
                x.shape[place.dim]
            ):
                return _Place(place.space, out.dim() - 1, place.repeat)
            return None
        if name in _REDUCING:
            dims = args[1] if len(args) > 1 else None
            dims = [dims] if isinstance(dims, int) else dims
            if not dims or any(d % x.dim() <= place.dim for d in dims):
                return None
            return place
        known = _HOMOGENEOUS | _LINEAR | _OTHER
        kept = name in known and out.shape[: place.dim + 1] == x.shape[: place.dim + 1]
        return place if kept else None


def spaces_of(model: nn.Module, example: Tensor, *, parted: bool = False) -> list[Space]:
    """The channel spaces of a model that may be changed.

    Args:
        model: in evaluation mode.
        example: an input; a small batch is enough.
        parted: whether a batch norm parts spaces (for factors) or passes them on (for orders).

    Returns:
        Those that something reads, that nothing unknown uses, and that are not the output.

    Raises:
        OptionError: there are none.
    """
    tracer = _Tracer(model, parted=parted)
    with torch.no_grad(), tracer:
        out = model(example)
    tracer.fix([out] if isinstance(out, Tensor) else list(out))
    free = [s for s in tracer.spaces if not s.fixed and (s.readers or (parted and s.norms))]
    if not free:
        raise OptionError(
            f"{type(model).__name__} has no channels that could be changed without changing its "
            "function; a transformer's are changed by permute-heads and rotate-residual"
        )
    return free
