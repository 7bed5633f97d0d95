"""Running a host on the side: what a call beside its training must leave as it was.

Nested inputs and outputs, modes, buffers and the random state; which forwards run is the matter
of `modeldeed.passport.host.replacing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from modeldeed.passport.host.replacing import replaced_forwards

__all__ = [
    "BufferGuard",
    "as_call",
    "evaluating",
    "first_tensor",
    "preserved_rng",
    "replaced_forwards",
    "tensors_in",
]

_PLAIN = (str, bytes, int, float, complex, type, nn.Module, type(None))


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

    @property
    def needed(self) -> bool:
        """Whether a call in train mode was seen to change a buffer."""
        return bool(self._volatile)

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


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors of a nested input or output, in its order.

    Args:
        value: a tensor, a mapping (transformers' outputs too), a list, tuple or set, or any object
            that keeps them as attributes (a dataclass), nested.
    """
    yield from _tensors_in(value, set())


def _tensors_in(value: Any, seen: set[int]) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
        return
    if isinstance(value, _PLAIN) or id(value) in seen:
        return
    seen.add(id(value))
    items: Iterable[Any]
    if isinstance(value, Mapping):
        items = value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        items = value
    else:
        items = getattr(value, "__dict__", {}).values()
    for item in items:
        yield from _tensors_in(item, seen)


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor of a nested argument, or None."""
    return next(tensors_in(value), None)


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
