"""What an attack is, what it needs and may not know, and the attacks by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import nn

from modeldeed.data import Dataset
from modeldeed.errors import OptionError
from modeldeed.training import Augment, Recipe

__all__ = ["Attack", "AttackData", "Need", "Unknown", "chosen", "find", "names", "register"]

Need = Literal[
    "inputs", "labels", "architecture", "other data", "another model", "another architecture"
]
"""What an attack takes beside a model's weights and the code that runs them: unlabelled inputs of
the task; their labels; knowledge of what the layers are for (which is the classifier, which the
last convolution); data of another task; a second trained model; code of a second network."""

Unknown = Literal["key", "weights", "labels"]
"""What an attack must do without."""

_SECRETS = ("key", "owner", "master", "secret", "passport", "triggers")


@dataclass(frozen=True)
class AttackData:
    """What the one who attacks has beside the model.

    Attributes:
        dataset: samples, on the model's device; its classes need not be the model's. Attacks that
            need no labels do not look at them.
        augment: ``(inputs, generator) -> inputs``, applied to every batch; None for none.
        other_data: of another task, of inputs that the model takes; None for none.
        other_model: trained by somebody else, with parameters of the same names and shapes where
            weights are averaged; None for none.
        other_architecture: makes an untrained network of another kind with as many outputs; it
            may draw from torch's global generator. None for none.
    """

    dataset: Dataset
    augment: Augment | None = None
    other_data: Dataset | None = None
    other_model: nn.Module | None = None
    other_architecture: Callable[[], nn.Module] | None = None


@dataclass(frozen=True)
class Attack(ABC):
    """One change to a model, with its strength: a frozen dataclass that `register` gives a name.

    Attributes:
        name: how the attack is called.
        source: the paper that it is from, or "This project".
        needs: what it takes, whatever its fields; see `needed`.
        unknown: what it does without; the key always.
    """

    name: ClassVar[str]
    source: ClassVar[str] = ""
    needs: ClassVar[tuple[Need, ...]] = ()
    unknown: ClassVar[tuple[Unknown, ...]] = ("key",)

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

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:  # noqa: ARG003
        """Named strengths for a grid, the weakest first.

        Args:
            recipe: of the host's own training; attacks that train take parts of its epochs and of
                its rate. None takes a recipe's defaults.

        Returns:
            At least three for every attack of this package.
        """
        return {}

    def needed(self) -> tuple[Need, ...]:
        """What it takes with these fields."""
        return type(self).needs

    def steps(self, data: AttackData) -> int:  # noqa: ARG002 - for those that train
        """Steps of all optimizers that `apply` takes: most of what an attack costs."""
        return 0

    def inputs_seen(self, data: AttackData) -> int:
        """Different samples that `apply` looks at."""
        return len(data.dataset.y_train) if "inputs" in self.needed() else 0


_REGISTRY: dict[str, type[Attack]] = {}
_Kind = TypeVar("_Kind", bound=type[Attack])


def register(name: str) -> Callable[[_Kind], _Kind]:
    """Register an attack under a name.

    Args:
        name: unique; stands in results.

    Returns:
        A decorator for a frozen dataclass that derives from `Attack`; it sets ``name`` on it.

    Raises:
        OptionError: the name is taken, or the attack has a field for something that nobody but
            the owner has, such as the key.
    """

    def decorate(kind: _Kind) -> _Kind:
        if name in _REGISTRY:
            raise OptionError(f"an attack {name!r} is registered already; choose another name")
        secret = [field.name for field in fields(kind) if field.name in _SECRETS]
        if secret or "key" not in kind.unknown:
            raise OptionError(
                f"attack {name!r} would know {', '.join(secret) or 'the key'}; whoever attacks "
                "knows everything but that"
            )
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


def chosen(
    name: str, strength: str | None = None, *, recipe: Recipe | None = None, **changes: Any
) -> Attack:
    """An attack by name, at one of its strengths, with some fields changed.

    Args:
        name: of the attack.
        strength: one of its `Attack.strengths`; None takes the one in the middle.
        recipe: of the host's own training.
        **changes: fields that differ from the strength's.

    Returns:
        The attack.

    Raises:
        OptionError: there is no such attack, strength or field, or a field is out of range.

    Example:
        >>> chosen("prune", "90 %", scope="layer")
        Prune(share=0.9, scope='layer')
    """
    kind = find(name)
    offered = kind.strengths(recipe)
    if strength is None:
        if not offered:
            raise OptionError(f"attack {name!r} names no strengths; make one from its class")
        strength = list(offered)[len(offered) // 2]
    if strength not in offered:
        raise OptionError(
            f"attack {name!r} has no strength {strength!r}; there are: {', '.join(offered)}"
        )
    known = [field.name for field in fields(kind)]
    unknown = [field for field in changes if field not in known]
    if unknown:
        raise OptionError(
            f"attack {name!r} has no field {unknown[0]!r}; there are: {', '.join(known) or 'none'}"
        )
    return replace(offered[strength], **changes)
