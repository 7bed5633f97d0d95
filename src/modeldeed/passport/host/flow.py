"""Which weight made what a norm normalizes: a trace of one forward, operator by operator.

Every tensor of the pass carries a `Flow`: the weights and norms whose outputs reached it through
operators that keep channels apart, each with the number of residual additions on the way. The
trace works below modules and functional calls alike, so it sees ``F.linear``, fused attention
projections and transposed layouts, and it never looks at names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from modeldeed.passport.host.derived_weights import KEEPS_DIMENSIONS, Weight, derived, tensors_in

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
        parents: the flows that it was computed from, whether they are followed further or not.
    """

    sources: Mapping[WeightSource | NormSource, int]
    value: int
    parents: tuple[Flow, ...] = field(default=(), repr=False, compare=False)


@dataclass
class Trace:
    """What one forward revealed.

    Attributes:
        inputs: norm → the flows of its inputs, one for each call, with the time of the call.
        consumers: weights → the flows they read.
        added: value → time of the last residual addition that used it.
        outputs: weights whose output is the model's output and is read by no other weight.
    """

    inputs: dict[str, list[tuple[Flow, int]]] = field(default_factory=dict)
    consumers: list[tuple[WeightSource, Flow]] = field(default_factory=list)
    added: dict[int, int] = field(default_factory=dict)
    outputs: set[WeightSource] = field(default_factory=set)


_TRANSPARENT = KEEPS_DIMENSIONS | {
    aten.view, aten._unsafe_view, aten.reshape, aten._reshape_alias, aten.as_strided,
    aten.permute, aten.transpose, aten.t, aten.unsqueeze, aten.squeeze, aten.expand,
    aten.slice, aten.select, aten.split, aten.split_with_sizes, aten.unbind, aten.roll,
    aten.constant_pad_nd, aten.native_dropout, aten.dropout, aten.contiguous, aten.flatten,
    aten._unsafe_index, aten.copy,
}  # fmt: skip
_UNITES = {aten.cat, aten.stack, aten.concat}
_ADDS = {aten.add, aten.add_}
_SCALES = {aten.mul, aten.mul_, aten.div, aten.div_}
_PRODUCTS = {aten.mm, aten.addmm, aten.bmm, aten.baddbmm}
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
        self._weights: Any = WeakIdKeyDictionary()
        self._inside_norm = 0
        for buffer in model.buffers():
            self._weights[buffer] = Weight(())
        for name, parameter in model.named_parameters():
            self._weights[parameter] = Weight((name,), tuple(range(parameter.dim())))

    def norm_called(self, name: str, run: Callable[[], Any], x: Tensor) -> Any:
        """Run a norm, record what reached it, and let its output start a new flow."""
        flow = self._flow(x)
        self.trace.inputs.setdefault(name, []).append((flow, next(self._clock)))
        self._inside_norm += 1
        try:
            out = run()
        finally:
            self._inside_norm -= 1
        for tensor in tensors_in(out):
            self._flows[tensor] = Flow({NormSource(name): 0}, next(self._values), (flow,))
        return out

    def finish(self, outputs: Iterable[Tensor]) -> Trace:
        """Record which weights made the model's output and return the trace."""
        last = {s for tensor in outputs for s in self._flow(tensor).sources}
        # Cached keys or a hidden state may be returned as well; their weights are no classifiers.
        read_on = _reached([flow for _, flow in self.trace.consumers])
        self.trace.outputs |= {s for s in last - read_on if isinstance(s, WeightSource)}
        return self.trace

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        before = [self._flow(x) for x in tensors_in(args)] if not self._inside_norm else []
        out = func(*args, **(kwargs or {}))
        if self._inside_norm:
            return out
        operator = func.overloadpacket
        known = [self._weights.get(x) for x in tensors_in(args)]
        if known and None not in known:
            weight = derived(operator, args, known, out)
            for tensor in tensors_in(out):
                self._weights[tensor] = weight
            return out
        flow = self._after(operator, args, before)
        for tensor in tensors_in(out):
            self._flows[tensor] = flow
        return out

    def _flow(self, tensor: Tensor) -> Flow:
        flow: Flow | None = self._flows.get(tensor)
        if flow is None:
            flow = Flow({}, next(self._values))
            self._flows[tensor] = flow
        return flow

    def _after(self, operator: Any, args: tuple[Any, ...], before: list[Flow]) -> Flow:
        """The flow of an operator's output."""
        weighted = self._weighted(operator, args)
        if weighted is not None:
            source, activation = weighted
            read = self._flow(activation)
            self.trace.consumers.append((source, read))
            return Flow({source: 0}, next(self._values), (read,))
        flows = [
            flow
            for tensor, flow in zip(tensors_in(args), before, strict=True)
            if self._weights.get(tensor) is None
        ]
        if operator in _TRANSPARENT and flows:
            return flows[0]
        return Flow(self._passed_on(operator, flows), next(self._values), tuple(flows))

    def _passed_on(
        self, operator: Any, flows: list[Flow]
    ) -> Mapping[WeightSource | NormSource, int]:
        """The sources that are still told apart behind an operator without weights."""
        if operator in _ADDS and len(flows) > 1:
            now = next(self._clock)
            self.trace.added.update((flow.value, now) for flow in flows)
            return _united(flows, added=1)
        if operator in _ADDS | _SCALES and len(flows) == 1:
            return flows[0].sources
        if operator in _UNITES:
            return _united(flows, added=0)
        if operator in _ACTIVATIONS and len(flows) == 1:
            return {
                NormSource(source.norm, activated=True): adds
                for source, adds in flows[0].sources.items()
                if isinstance(source, NormSource)
            }
        return {}

    def _weighted(self, operator: Any, args: tuple[Any, ...]) -> tuple[WeightSource, Tensor] | None:
        """The weight and the activation of a convolution or product, if it is one."""
        if operator in _PRODUCTS:
            left, right = args[-2:]
            weight, activation = self._weights.get(right), left
            rows, columns = right.dim() - 1, right.dim() - 2
            if weight is None:
                weight, activation = self._weights.get(left), right
                rows, columns = left.dim() - 2, left.dim() - 1
        elif operator is aten.convolution:
            weight, activation = self._weights.get(args[1]), args[0]
            rows, columns = _of_convolution(args[1].shape, transposed=args[6], groups=args[8])
        elif operator is aten.linear:
            weight, activation = self._weights.get(args[1]), args[0]
            rows, columns = 0, 1
        else:
            return None
        if weight is None or not weight.names or self._weights.get(activation) is not None:
            return None
        return _source(weight, rows, columns), activation


def _of_convolution(
    shape: Sequence[int], *, transposed: bool, groups: int
) -> tuple[int | None, int | None]:
    """The dimensions of a convolution's weight that hold its output and its input channels."""
    if groups == 1:
        return (1, 0) if transposed else (0, 1)
    depthwise = shape[0] == groups and shape[1] == 1
    if transposed:  # (inputs, outputs of one group, …)
        return (0 if depthwise else None), 0
    return 0, (0 if depthwise else None)  # (outputs, inputs of one group, …)


def _source(weight: Weight, rows: int | None, columns: int | None) -> WeightSource:
    dimensions = weight.dimensions
    if dimensions is None:
        return WeightSource(weight.names, None, None)
    return WeightSource(
        weight.names,
        None if rows is None else dimensions[rows],
        None if columns is None else dimensions[columns],
    )


def _reached(flows: list[Flow]) -> set[WeightSource | NormSource]:
    """Everything that flows were computed from."""
    found: set[WeightSource | NormSource] = set()
    seen: set[int] = set()
    stack = list(flows)
    while stack:
        flow = stack.pop()
        if id(flow) not in seen:
            seen.add(id(flow))
            found |= set(flow.sources)
            stack += flow.parents
    return found


def _united(flows: list[Flow], *, added: int) -> dict[WeightSource | NormSource, int]:
    sources: dict[WeightSource | NormSource, int] = {}
    for flow in flows:
        for source, adds in flow.sources.items():
            sources[source] = max(sources.get(source, 0), adds + added)
    return sources
