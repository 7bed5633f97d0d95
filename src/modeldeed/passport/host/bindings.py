"""The weight each norm is bound to, chosen from a trace by four rules.

(a) One weight produced the norm's input directly: its rows. (b) One weight produced it through
residual additions, and the input is not itself carried on by a later addition (post-norm): its
rows. (c) Otherwise a weight that reads the norm's output (pre-norm): its columns; of several the
one with most outputs. (d) Otherwise the norm is refused, with the candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from modeldeed.passport.host.flow import Flow, NormSource, Trace, WeightSource

__all__ = ["Binding", "Refusal", "bind"]


@dataclass(frozen=True)
class Binding:
    """A weight and the dimension of it along which a norm's channels lie."""

    weight: str
    axis: int
    side: Literal["rows", "columns"]


@dataclass(frozen=True)
class Refusal:
    """Why a norm has no bound weight."""

    reason: str


def bind(
    trace: Trace, norm: str, channels: int, parameters: Mapping[str, Tensor]
) -> Binding | Refusal:
    """Choose the weight a norm is bound to.

    Args:
        trace: what a forward revealed.
        norm: the norm's name.
        channels: its number of channels C.
        parameters: the host's parameters by name.

    Returns:
        The binding, or why there is none.
    """
    calls = trace.inputs.get(norm, [])
    if not calls:
        return Refusal("it did not run in a forward of the example")
    producers = {_producer(trace, flow, time) for flow, time in calls}
    producer = producers.pop() if len(producers) == 1 else None
    binding = _as_binding(producer, "rows", channels, parameters)
    if binding is not None:
        return binding
    consumers = _consumers(trace, norm, channels, parameters)
    if consumers:
        return consumers[0]
    misfit = None if producer is None else _misfit(producer, channels)
    return Refusal(misfit or _candidates(calls, trace, norm))


def _producer(trace: Trace, flow: Flow, time: int) -> WeightSource | None:
    weights = [source for source in flow.sources if isinstance(source, WeightSource)]
    if len(weights) != 1:
        return None
    carried_on = trace.added.get(flow.value, -1) > time
    direct = flow.sources[weights[0]] == 0 and len(flow.sources) == 1
    return weights[0] if direct or not carried_on else None


def _as_binding(
    source: WeightSource | None,
    side: Literal["rows", "columns"],
    channels: int,
    parameters: Mapping[str, Tensor],
) -> Binding | None:
    if source is None or len(source.parameters) != 1:
        return None
    axis = source.rows if side == "rows" else source.columns
    weight = parameters[source.parameters[0]]
    if axis is None or weight.shape[axis] != channels:
        return None
    return Binding(source.parameters[0], axis, side)


def _misfit(source: WeightSource, channels: int) -> str | None:
    """Why the one weight before a norm is not bound; None when its size is all that differs."""
    names = ", ".join(source.parameters)
    if len(source.parameters) != 1:
        return f"the weight before it is computed from several parameters: {names}"
    if source.rows is None:
        return (
            f"its {channels} channels keep no direction along any dimension of {names}, which the "
            "weight before it is computed from (an orthogonal or another parametrization, or a "
            "grouped transposed convolution)"
        )
    return None


def _consumers(
    trace: Trace, norm: str, channels: int, parameters: Mapping[str, Tensor]
) -> list[Binding]:
    """Weights that read the norm's output, the preferred one first."""
    found: dict[Binding, tuple[bool, int]] = {}
    for source, flow in trace.consumers:
        if source in trace.outputs:
            continue  # a classifier is replaced by anyone who fine-tunes
        binding = _as_binding(source, "columns", channels, parameters)
        for activated in (False, True):
            if binding is None or flow.sources.get(NormSource(norm, activated)) != 0:
                continue
            outputs = parameters[binding.weight].numel() // channels
            found.setdefault(binding, (activated, -outputs))
    return sorted(found, key=lambda binding: found[binding])


def _candidates(calls: list[tuple[Flow, int]], trace: Trace, norm: str) -> str:
    before = sorted(
        {
            "+".join(source.parameters)
            for flow, _ in calls
            for source in flow.sources
            if isinstance(source, WeightSource)
        }
    )
    after = sorted(
        {
            "+".join(source.parameters)
            for source, flow in trace.consumers
            if {NormSource(norm), NormSource(norm, activated=True)} & set(flow.sources)
        }
    )
    named = [
        f"{where} {', '.join(names[:4])}{' …' if len(names) > 4 else ''}"
        for where, names in (("before it", before), ("after it", after))
        if names
    ]
    return "no single weight fits its channels" + (f" ({'; '.join(named)})" if named else "")
