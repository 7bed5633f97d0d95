"""Replacing the forwards of a host's layers, for one thread and one call.

While a replacement is in place, a layer carries a ``forward`` of its own that looks up what the
running thread is to do: a private call's thread, or a backward that computes parts of it again,
finds the private function; every other thread finds the layer's own. Hooks, class, parameters and
module tree stay as they are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

__all__ = ["Forwards", "enter", "leave", "never_skipped", "replaced_forwards"]

Forwards = Mapping[nn.Module, Callable[..., Any]]
"""Layer → function called in place of its ``forward``."""

_MISSING = object()
_lock = threading.RLock()


class _Here(threading.local):
    """What the running thread replaces."""

    forwards: Forwards | None = None


_here = _Here()
# A compiler neither traces nor guards on thread-local state; within a trace the newest
# replacement counts, whichever thread asks.
_traced: dict[int, Callable[..., Any]] = {}


@dataclass
class _Place:
    """A layer whose forward is replaced at present.

    Attributes:
        own: its ``forward`` in the instance's dictionary, if there was one.
        uses: how many calls replace it.
    """

    own: Any
    uses: int = 1


_places: dict[nn.Module, _Place] = {}


def enter(forwards: Forwards) -> Forwards | None:
    """Replace forwards for the running thread.

    Args:
        forwards: layer → function called in place of its ``forward``.

    Returns:
        What the thread replaced before, for `leave`.
    """
    with _lock:
        for module, replacement in forwards.items():
            _traced[id(module)] = replacement
            if module in _places:
                _places[module].uses += 1
                continue
            _places[module] = _Place(vars(module).get("forward", _MISSING))
            vars(module)["forward"] = _choosing(module, module.forward)
    before, _here.forwards = _here.forwards, forwards
    return before


def leave(forwards: Forwards, before: Forwards | None) -> None:
    """Undo `enter`; the last one to leave puts back what the first one found."""
    if _here.forwards is forwards:  # a failed backward is closed by whichever thread notices
        _here.forwards = before
    with _lock:
        for module in forwards:
            place = _places[module]
            place.uses -= 1
            if place.uses:
                continue
            del _places[module], _traced[id(module)]
            if place.own is _MISSING:
                vars(module).pop("forward", None)
            else:
                vars(module)["forward"] = place.own


@contextmanager
def never_skipped(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Keep parents from running layers in a fused path of their own, which looks for hooks."""
    handles = [module.register_forward_pre_hook(_inert) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def replaced_forwards(forwards: Forwards) -> Iterator[None]:
    """Replace the ``forward`` of some layers within the block, whatever happens in it.

    Args:
        forwards: layer → function called in place of its ``forward``.
    """
    with never_skipped(forwards):
        before = enter(forwards)
        try:
            yield
        finally:
            leave(forwards, before)


def _choosing(module: nn.Module, own: Callable[..., Any]) -> Callable[..., Any]:
    identity = id(module)

    def forward(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return _traced[identity](*args, **kwargs)
        chosen = _here.forwards
        if chosen is None or module not in chosen:
            return own(*args, **kwargs)
        return chosen[module](*args, **kwargs)

    return forward


def _inert(module: nn.Module, args: Any) -> None:
    """Do nothing."""
