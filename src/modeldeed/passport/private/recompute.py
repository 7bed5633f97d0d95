"""Activations that the backward computes again, as a private call computed them.

Activation checkpointing drops activations and runs a part of the host once more when the backward
needs them; by then the private call is over, and the part would run publicly: wrong gradients,
silently. So a private call notices whether any of its layers ran where that will happen, and if
so every node of its graph replaces the forwards again while it runs, and only then: a public
graph in the same backward computes its own activations publicly.

Reentrant checkpoints, PyTorch's other ones and functions that recompute by themselves are alike
here: whatever they run, they run within a node of the private graph.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor
from torch.autograd.graph import Node, disable_saved_tensors_hooks

from modeldeed.errors import HostError
from modeldeed.passport.host.reach import tensors_in
from modeldeed.passport.host.replacing import Forwards, enter, leave, never_skipped

__all__ = ["RecomputeWatch", "follow"]

Guard = Callable[[], AbstractContextManager[None]]


class RecomputeWatch:
    """Notices layers that run where the backward will run them again.

    Such a place is one without gradients inside a call with gradients (a reentrant checkpoint, a
    function of its own), or one that keeps tensors in a way of its own (the other checkpoints;
    also offloading, which is harmless to take for one).
    """

    def __init__(self) -> None:
        self.noticed = False
        self._watching = torch.is_grad_enabled()

    def look(self) -> None:
        """Look at the place where a layer runs now."""
        if self._watching and not self.noticed:
            self.noticed = not torch.is_grad_enabled() or _keeps_tensors_otherwise()


def _keeps_tensors_otherwise() -> bool:
    try:
        with disable_saved_tensors_hooks("asked whether there are any"):
            return False
    except RuntimeError:
        return True


def follow(
    output: Any,
    given: Any,
    forwards: Forwards,
    *,
    guard: Guard | None,
    finish: Callable[[], None],
) -> None:
    """Let the backward of a private call compute its activations privately.

    Args:
        output: what the call returned.
        given: what it started from; what lies before is not its own.
        forwards: the private forwards for recomputation.
        guard: keeps buffers of the host while a node runs; None when there are none to keep.
        finish: called at the end of every backward that succeeds.

    Raises:
        HostError: no tensor can be found in the output.
    """
    tensors = list(tensors_in(output))
    if not tensors:
        raise HostError(
            f"the host checkpoints its activations and returns a {type(output).__qualname__}, in "
            "which no tensor can be found to follow its backward; return tensors, or a tuple, "
            "dict or dataclass of them"
        )
    hooks = _Hooks(forwards, guard, finish)
    for node in _nodes(tensors, given):
        node.register_prehook(hooks.before)
        node.register_hook(hooks.after)


def _nodes(tensors: list[Tensor], given: Any) -> Iterator[Node]:
    """The nodes between a call's outputs and what it started from."""
    seen: set[Any] = {tensor.grad_fn for tensor in tensors_in(given)} | {None}
    stack: list[Any] = [tensor.grad_fn for tensor in tensors]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        stack.extend(parent for parent, _ in node.next_functions)
        if not hasattr(node, "variable"):  # a leaf's node serves every graph
            yield node


class _Hooks:
    """What the nodes of one private call's graph do before and after they run."""

    def __init__(self, forwards: Forwards, guard: Guard | None, finish: Callable[[], None]) -> None:
        self._forwards = forwards
        self._guard = guard
        self._finish = finish
        # One for each backward in progress; the engine alone keeps them alive.
        self._backwards: WeakValueDictionary[int, _Backward] = WeakValueDictionary()

    def before(self, _gradients: Any) -> None:
        task = torch._C._current_graph_task_id()
        backward = self._backwards.get(task)
        if backward is None:
            backward = _Backward(self._forwards, self._guard)
            self._backwards[task] = backward
            torch.autograd.Variable._execution_engine.queue_callback(backward.close)
            torch.autograd.Variable._execution_engine.queue_callback(self._finish)
        backward.enter()

    def after(self, _inputs: Any, _outputs: Any) -> None:
        backward = self._backwards.get(torch._C._current_graph_task_id())
        if backward is not None:
            backward.leave()


class _Backward:
    """One backward through a private call's graph.

    A node that raises runs no hook behind it, and a backward that fails no callback. But the
    engine then lets go of the callbacks, and with the last reference everything is put back.
    """

    def __init__(self, forwards: Forwards, guard: Guard | None) -> None:
        self._forwards = dict(forwards)
        self._guard = guard
        self._whole = ExitStack()
        self._whole.enter_context(never_skipped(forwards))
        self._within: dict[int, ExitStack] = {}  # by thread: every device has its own

    def enter(self) -> None:
        """Begin a node."""
        stack = self._within[threading.get_ident()] = ExitStack()
        if self._guard is not None:
            stack.enter_context(self._guard())
        stack.callback(leave, self._forwards, enter(self._forwards))

    def leave(self) -> None:
        """End it."""
        stack = self._within.pop(threading.get_ident(), None)
        if stack is not None:
            stack.close()

    def close(self) -> None:
        """End the backward, also in the middle of a node."""
        while self._within:
            self._within.popitem()[1].close()
        self._forwards.clear()  # a thread whose node raised may still hold them
        self._whole.close()

    def __del__(self) -> None:
        self.close()
