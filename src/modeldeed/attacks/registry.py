"""What an attack is, and the attacks by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
from torch import nn

from modeldeed.data import Dataset
from modeldeed.errors import OptionError
from modeldeed.training import Augment

__all__ = ["Attack", "AttackData", "find", "names", "register"]


@dataclass(frozen=True)
class AttackData:
    """What the one who attacks can train with.

    Attributes:
        dataset: labelled samples, on the model's device; its classes need not be the model's.
        augment: ``(inputs, generator) -> inputs``, applied to every batch; None for none.
    """

    dataset: Dataset
    augment: Augment | None = None


@dataclass(frozen=True)
class Attack(ABC):
    """One change to a model, with its strength: a frozen dataclass that `register` gives a name.

    Attributes:
        name: how the attack is called.
    """

    name: ClassVar[str]

    @abstractmethod
    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """Attack a copy of a model.

        Args:
            model: not changed: weights, mode, hooks and gradients stay as they are.
            data: what the attack may train with; many need none.
            generator: every random choice, on the CPU; torch's global generator is left alone.

        Returns:
            A new model in evaluation mode.

        Raises:
            OptionError: the attack does not fit the model or the data.
        """

    def steps(self, data: AttackData) -> int:  # noqa: ARG002 - for those that train
        """Optimizer steps that `apply` takes: most of what an attack costs."""
        return 0


_REGISTRY: dict[str, type[Attack]] = {}
_Kind = TypeVar("_Kind", bound=type[Attack])


def register(name: str) -> Callable[[_Kind], _Kind]:
    """Register an attack under a name.

    Args:
        name: unique; stands in results.

    Returns:
        A decorator for a frozen dataclass that derives from `Attack`; it sets ``name`` on it.

    Raises:
        OptionError: the name is taken.
    """

    def decorate(kind: _Kind) -> _Kind:
        if name in _REGISTRY:
            raise OptionError(f"an attack {name!r} is registered already; choose another name")
        kind.name = name
        _REGISTRY[name] = kind
        return kind

    return decorate


def names() -> list[str]:
    """The names of all attacks, in alphabetical order."""
    return sorted(_REGISTRY)


def find(name: str) -> type[Attack]:
    """One attack by name.

    Raises:
        OptionError: there is none of this name.
    """
    if name not in _REGISTRY:
        raise OptionError(f"no attack {name!r}; there are: {', '.join(names())}")
    return _REGISTRY[name]
