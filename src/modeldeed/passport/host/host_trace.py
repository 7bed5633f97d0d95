"""One traced forward of a host: what reached every norm, and whether the norm is what it seems."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from modeldeed.errors import PlanError
from modeldeed.passport.host.flow import Trace, Tracer
from modeldeed.passport.host.reach import (
    as_call,
    evaluating,
    first_tensor,
    preserved_rng,
    replaced_forwards,
)
from modeldeed.passport.norms.foreign_layers import fault_of
from modeldeed.passport.norms.registry import kind_of

__all__ = ["all_tensors", "described", "quietly", "trace_host"]


def trace_host(
    model: nn.Module, norms: Mapping[str, nn.Module], example: Any
) -> tuple[Trace, dict[str, str]]:
    """Trace one forward of a host in eval mode; the host and the random state stay as they are.

    Args:
        model: the host.
        norms: the norms to follow, by name.
        example: its input; a small batch is enough.

    Returns:
        The trace, and for every norm that cannot be run with another scale the reason.

    Raises:
        PlanError: the host's forward raised.
    """
    tracer, faults = Tracer(model), dict[str, str]()
    forwards = {module: _recording(tracer, faults, name, module) for name, module in norms.items()}
    args, kwargs = as_call(example)
    try:
        with quietly(model), replaced_forwards(forwards), tracer:
            output = model(*args, **kwargs)
    except Exception:
        _require_working(model, example)
        raise
    return tracer.finish(all_tensors(output)), faults


@contextmanager
def quietly(model: nn.Module) -> Iterator[None]:
    """Run a host for a look at it: eval mode, no gradients, random state kept, nothing fused."""
    with (
        evaluating(model),
        torch.no_grad(),
        preserved_rng(model.parameters()),
        _uncompiled(),
        _unfused_attention(),
    ):
        yield


def _require_working(model: nn.Module, example: Any) -> None:
    """Tell a host that does not accept the example from a defect of the trace.

    Raises:
        PlanError: the host's own forward raised.
    """
    args, kwargs = as_call(example)
    try:
        with quietly(model):
            model(*args, **kwargs)
    except Exception as error:  # whatever a forward raises on a batch it was not made for
        raise PlanError(
            f"the host's forward failed on `example` ({described(example)}): "
            f"{type(error).__name__}: {error}; pass a batch that the host accepts"
        ) from error


def _uncompiled() -> AbstractContextManager[Any]:
    """Let compiled parts of a host run as they were written, where this version of torch can."""
    set_stance = getattr(torch.compiler, "set_stance", None)
    # Without the compiler's machinery, which takes seconds to import, nothing is compiled.
    if set_stance is None or "torch._dynamo" not in sys.modules:
        return nullcontext()
    return set_stance("force_eager")  # type: ignore[no-any-return]


def _recording(tracer: Tracer, faults: dict[str, str], name: str, module: nn.Module) -> Any:
    forward, kind = module.forward, kind_of(module)

    def run(*args: Any, **kwargs: Any) -> Any:
        x = first_tensor((args, kwargs))
        if x is None:
            faults[name] = "it is called without a tensor"
            return forward(*args, **kwargs)

        def observed() -> Any:
            out = forward(*args, **kwargs)
            fault = None
            if len(args) != 1 or kwargs or not isinstance(out, Tensor):
                fault = "it is called with more than its input, or returns more than one tensor"
            elif kind is not None and kind.recognized:
                fault = fault_of(kind, module, x, out)
            if fault:
                faults.setdefault(name, fault)
            return out

        return tracer.norm_called(name, observed, x)

    return run


@contextmanager
def _unfused_attention() -> Iterator[None]:
    """Let attention layers show their projections instead of one fused operator."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def all_tensors(value: Any) -> list[Tensor]:
    """The tensors of whatever a host takes or returns: nested, a mapping, a dataclass."""
    if isinstance(value, Tensor):
        return [value]
    items: Any = ()
    if isinstance(value, Mapping):
        items = value.values()
    elif isinstance(value, list | tuple):
        items = value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = vars(value).values()
    return [tensor for item in items for tensor in all_tensors(item)]


def described(example: Any) -> str:
    """An input's shape in words, for messages."""
    if isinstance(example, Tensor):
        return f"shape {tuple(example.shape)}, {str(example.dtype).removeprefix('torch.')}"
    if isinstance(example, Mapping):
        return ", ".join(f"{name}: {described(value)}" for name, value in example.items())
    if isinstance(example, list | tuple):
        return "; ".join(described(value) for value in example)
    return type(example).__name__
