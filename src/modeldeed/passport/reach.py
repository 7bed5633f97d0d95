"""Reaching a host's norms for one call, without changing the host.

For the duration of a call, each norm's ``forward`` is replaced on the instance. Hooks, class,
parameters and module tree stay as they are, so the host's own state, its state-dict keys and a
compiled version of it are untouched before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = [
    "BufferGuard",
    "as_call",
    "evaluating",
    "first_tensor",
    "preserved_rng",
    "replaced_forwards",
]

_MISSING = object()


def _inert(module: nn.Module, args: Any) -> None:
    """Do nothing: a layer with a hook is never skipped by a fused path of its parent."""


@contextmanager
def replaced_forwards(
    replacements: Mapping[nn.Module, Callable[..., Any]],
) -> Iterator[None]:
    """Replace the ``forward`` of some modules within the block, whatever happens in it.

    Args:
        replacements: module → function called in place of its ``forward``.
    """
    previous: list[tuple[nn.Module, Any, Any]] = []
    try:
        for module, forward in replacements.items():
            handle = module.register_forward_pre_hook(_inert)
            previous.append((module, vars(module).get("forward", _MISSING), handle))
            vars(module)["forward"] = forward
        yield
    finally:
        for module, forward, handle in reversed(previous):
            handle.remove()
            if forward is _MISSING:
                vars(module).pop("forward", None)
            else:
                vars(module)["forward"] = forward


class BufferGuard:
    """Keep a host's other buffers (spectral norm's vectors, counters) as a call found them.

    The first guarded call in train mode copies them all to see which ones change; later calls
    copy only those.

    Args:
        host: the model.
        apart: modules whose buffers the call does not reach.
    """

    def __init__(self, host: nn.Module, apart: Iterable[nn.Module]) -> None:
        skipped = {id(module) for module in apart}
        self._all = [
            (module, name)
            for module in host.modules()
            if id(module) not in skipped
            for name, buffer in module.named_buffers(recurse=False)
            if isinstance(buffer, Tensor)
        ]
        self._volatile: list[tuple[nn.Module, str]] | None = None
        self._host = host

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Run the block and put every buffer back, the tensor itself and its values."""
        guarded = self._all if self._volatile is None else self._volatile
        kept = [
            (module, name, buffer, buffer._version, buffer.detach().clone())
            for module, name in guarded
            if (buffer := module._buffers[name]) is not None
        ]
        try:
            yield
        finally:
            changed = []
            for module, name, buffer, version, values in kept:
                if module._buffers[name] is not buffer or buffer._version != version:
                    changed.append((module, name))
                    module._buffers[name] = buffer
                    buffer.data.copy_(values)
            if self._host.training and self._volatile is None:
                self._volatile = changed


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Run the block with a model in eval mode and restore every module's own mode."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def preserved_rng(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Run the block and put the random states back as they were.

    Args:
        tensors: those whose devices the block uses.
    """
    devices = sorted({t.device.index or 0 for t in tensors if t.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices):
        yield


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor of a nested argument, or None."""
    if isinstance(value, Tensor):
        return value
    items: Iterable[Any] = ()
    if isinstance(value, Mapping):
        items = value.values()
    elif isinstance(value, list | tuple):
        items = value
    for item in items:
        found = first_tensor(item)
        if found is not None:
            return found
    return None


def as_call(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and keyword arguments that an input stands for.

    A dict is passed as keyword arguments, a tuple or list as positional ones, anything else as
    the only argument.
    """
    if isinstance(inputs, Mapping):
        return (), {str(name): value for name, value in inputs.items()}
    if isinstance(inputs, tuple | list):
        return tuple(inputs), {}
    return (inputs,), {}
