"""Which weight made what a norm normalizes: a trace of one forward, operator by operator.

Every tensor of the pass carries a `Flow`: the weights and norms whose outputs reached it through
operators that keep channels apart, each with the number of residual additions on the way. The
trace works below modules and functional calls alike, so it sees ``F.linear``, fused attention
projections and transposed layouts, and it never looks at names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

__all__ = ["Flow", "NormSource", "Trace", "WeightSource"]

aten = torch.ops.aten


@dataclass(frozen=True)
class WeightSource:
    """A weight as an operator used it.

    Attributes:
        parameters: state-dict names it was computed from; one for a plain weight.
        rows: dimension along which its output channels lie; None when they cannot be told apart.
        columns: likewise for its input channels.
    """

    parameters: tuple[str, ...]
    rows: int | None
    columns: int | None


@dataclass(frozen=True)
class NormSource:
    """The output of a norm, possibly behind an elementwise activation."""

    norm: str
    activated: bool = False


@dataclass(frozen=True)
class Flow:
    """What reached a tensor.

    Attributes:
        sources: weights and norms → residual additions since.
        value: identity of the value; reshaped, sliced or cast copies share it.
    """

    sources: Mapping[WeightSource | NormSource, int]
    value: int


@dataclass(frozen=True)
class _Parameter:
    """A tensor computed from parameters alone, and which dimension of it is which of theirs."""

    names: tuple[str, ...]
    dimensions: tuple[int, ...] | None


@dataclass
class Trace:
    """What one forward revealed.

    Attributes:
        inputs: norm → the flows of its inputs, one for each call, with the time of the call.
        consumers: weights → the flows they read.
        added: value → time of the last residual addition that used it.
        outputs: weights whose output is the model's output.
    """

    inputs: dict[str, list[tuple[Flow, int]]] = field(default_factory=dict)
    consumers: list[tuple[WeightSource, Flow]] = field(default_factory=list)
    added: dict[int, int] = field(default_factory=dict)
    outputs: set[WeightSource] = field(default_factory=set)


_KEEPS_DIMENSIONS = {aten.detach, aten.alias, aten.clone, aten._to_copy, aten.lift_fresh}
_TRANSPARENT = _KEEPS_DIMENSIONS | {
    aten.view, aten._unsafe_view, aten.reshape, aten._reshape_alias, aten.as_strided,
    aten.permute, aten.transpose, aten.t, aten.unsqueeze, aten.squeeze, aten.expand,
    aten.slice, aten.select, aten.split, aten.split_with_sizes, aten.unbind, aten.roll,
    aten.constant_pad_nd, aten.native_dropout, aten.dropout, aten.contiguous, aten.flatten,
    aten._unsafe_index, aten.copy,
}  # fmt: skip
_UNITES = {aten.cat, aten.stack, aten.concat}
_ADDS = {aten.add, aten.add_}
_SCALES = {aten.mul, aten.mul_, aten.div, aten.div_}
_ACTIVATIONS = {
    aten.relu, aten.relu_, aten.leaky_relu, aten.leaky_relu_, aten.elu, aten.elu_, aten.gelu,
    aten.gelu_, aten.silu, aten.silu_, aten.hardtanh, aten.hardtanh_, aten.hardswish,
    aten.hardswish_, aten.sigmoid, aten.sigmoid_, aten.tanh, aten.tanh_, aten.mish, aten.mish_,
    aten.softplus, aten.celu, aten.celu_, aten.threshold, aten.threshold_,
}  # fmt: skip


class Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follow flows through every operator of one forward.

    Args:
        model: the host; only its parameters' names are read.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = Trace()
        self._clock = count()
        self._values = count()
        self._flows: Any = WeakIdKeyDictionary()
        self._parameters: Any = WeakIdKeyDictionary()
        self._inside_norm = 0
        for name, parameter in model.named_parameters():
            self._parameters[parameter] = _Parameter((name,), tuple(range(parameter.dim())))

    def norm_called(self, name: str, run: Callable[[], Any], x: Tensor) -> Any:
        """Run a norm, record what reached it, and let its output start a new flow."""
        self.trace.inputs.setdefault(name, []).append((self._flow(x), next(self._clock)))
        self._inside_norm += 1
        try:
            out = run()
        finally:
            self._inside_norm -= 1
        for tensor in _tensors(out):
            self._flows[tensor] = Flow({NormSource(name): 0}, next(self._values))
        return out

    def finish(self, output: Any) -> Trace:
        """Record which weights made the model's output and return the trace."""
        for tensor in _tensors(output):
            sources = self._flow(tensor).sources
            self.trace.outputs |= {s for s in sources if isinstance(s, WeightSource)}
        return self.trace

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        before = [self._flow(x) for x in _tensors(args)] if not self._inside_norm else []
        out = func(*args, **(kwargs or {}))
        if self._inside_norm:
            return out
        operator = func.overloadpacket
        if self._from_parameters_alone(operator, args, out):
            return out
        flow = self._after(operator, args, before)
        for tensor in _tensors(out):
            self._flows[tensor] = flow
        return out

    def _flow(self, tensor: Tensor) -> Flow:
        flow: Flow | None = self._flows.get(tensor)
        if flow is None:
            flow = Flow({}, next(self._values))
            self._flows[tensor] = flow
        return flow

    def _from_parameters_alone(self, operator: Any, args: tuple[Any, ...], out: Any) -> bool:
        """Mark a tensor computed only from parameters as a weight itself."""
        tensors = _tensors(args)
        known = [self._parameters.get(x) for x in tensors]
        if not tensors or any(p is None for p in known):
            return False
        names = tuple(dict.fromkeys(name for p in known for name in p.names))
        dimensions = None
        if len(tensors) == 1 and known[0].dimensions is not None:
            dimensions = _permuted(operator, args, known[0].dimensions)
        for tensor in _tensors(out):
            self._parameters[tensor] = _Parameter(names, dimensions)
        return True

    def _after(self, operator: Any, args: tuple[Any, ...], before: list[Flow]) -> Flow:
        """The flow of an operator's output."""
        weighted = self._weighted(operator, args)
        if weighted is not None:
            source, activation = weighted
            self.trace.consumers.append((source, self._flow(activation)))
            return Flow({source: 0}, next(self._values))
        flows = [
            flow
            for tensor, flow in zip(_tensors(args), before, strict=True)
            if self._parameters.get(tensor) is None
        ]
        if operator in _TRANSPARENT and flows:
            return flows[0]
        if operator in _ADDS and len(flows) > 1:
            now = next(self._clock)
            self.trace.added.update((flow.value, now) for flow in flows)
            return Flow(_united(flows, added=1), next(self._values))
        if operator in _ADDS | _SCALES and len(flows) == 1:
            return Flow(flows[0].sources, next(self._values))
        if operator in _UNITES:
            return Flow(_united(flows, added=0), next(self._values))
        if operator in _ACTIVATIONS and len(flows) == 1:
            behind: dict[WeightSource | NormSource, int] = {
                NormSource(source.norm, activated=True): adds
                for source, adds in flows[0].sources.items()
                if isinstance(source, NormSource)
            }
            return Flow(behind, next(self._values))
        return Flow({}, next(self._values))

    def _weighted(self, operator: Any, args: tuple[Any, ...]) -> tuple[WeightSource, Tensor] | None:
        """The weight and the activation of a convolution or product, if it is one."""
        rows: int | None
        columns: int | None
        if operator is aten.convolution:
            weight = self._parameters.get(args[1])
            transposed, groups = args[6], args[8]
            rows, columns = (1, 0) if transposed else (0, 1)
            if groups > 1:
                rows, columns = (None, None) if transposed else (0, None)
        elif operator is aten.linear:
            weight, rows, columns = self._parameters.get(args[1]), 0, 1
        elif operator in {aten.addmm, aten.mm}:
            activation, matrix = args[-2:]
            weight, rows, columns = self._parameters.get(matrix), 1, 0
            args = (activation,)
        else:
            return None
        if weight is None or self._parameters.get(args[0]) is not None:
            return None
        return _source(weight, rows, columns), args[0]


def _source(weight: _Parameter, rows: int | None, columns: int | None) -> WeightSource:
    dimensions = weight.dimensions
    if dimensions is None:
        return WeightSource(weight.names, None, None)
    return WeightSource(
        weight.names,
        None if rows is None else dimensions[rows],
        None if columns is None else dimensions[columns],
    )


def _permuted(
    operator: Any, args: tuple[Any, ...], dimensions: tuple[int, ...]
) -> tuple[int, ...] | None:
    """Where the dimensions of a parameter went; None when the operator mixes or cuts them."""
    order = list(dimensions)
    if operator in _KEEPS_DIMENSIONS:
        return dimensions
    if operator is aten.t:
        return tuple(reversed(order))
    if operator is aten.transpose:
        a, b = args[1], args[2]
        order[a], order[b] = order[b], order[a]
        return tuple(order)
    if operator is aten.permute:
        return tuple(order[i] for i in args[1])
    return None


def _united(flows: list[Flow], *, added: int) -> dict[WeightSource | NormSource, int]:
    sources: dict[WeightSource | NormSource, int] = {}
    for flow in flows:
        for source, adds in flow.sources.items():
            sources[source] = max(sources.get(source, 0), adds + added)
    return sources


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
