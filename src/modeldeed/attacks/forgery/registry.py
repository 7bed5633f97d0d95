"""What a forgery is, what it hands in, and the forgeries by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn

from modeldeed.attacks.forgery.published import PublishedClaim, PublishedHeads
from modeldeed.data import Dataset
from modeldeed.errors import OptionError
from modeldeed.owner import Owner
from modeldeed.passport import Passport
from modeldeed.passport.evidence.manifest import Manifest
from modeldeed.triggers.trigger_set import TriggerSet

__all__ = ["Claim", "Forgery", "Need", "Stolen", "find", "forger", "names", "register"]

Need = Literal[
    "weights", "architecture", "data", "a tenth of the data", "the owner's heads and statistics"
]
"""What a forger has to have."""


@dataclass(frozen=True)
class Stolen:
    """What a forger holds: a shipped model and what goes with it, and nothing secret.

    Attributes:
        model: the shipped model, in evaluation mode; a forgery never changes it.
        data: labelled samples, on the model's device.
        fresh: seed → an untrained network of the same architecture.
        folder: where forged files may be written; empty.
        heads: the owner's trained heads, for the one forgery that is given them; None elsewhere.
        statistics: those of the owner's private branch, by norm, for the same one.
    """

    model: nn.Module
    data: Dataset
    fresh: Callable[[int], nn.Module]
    folder: Path
    heads: PublishedHeads | None = None
    statistics: Mapping[str, tuple[Tensor, Tensor]] | None = None

    @property
    def example(self) -> Tensor:
        """A small batch of the model's input."""
        return self.data.x_train[:4]

    def tenth(self) -> Dataset:
        """A tenth of the training data, class by class."""
        return self.data.subset(max(2, len(self.data.y_train) // 10), len(self.data.y_test))


@dataclass(frozen=True)
class Claim:
    """One thing that is handed in to a judge, with the stolen model as the suspect.

    Attributes:
        what: it is, in a few words.
        owner: the forger's own key, which opens it.
        submitted: what `modeldeed.verify` is given as passport or trigger set.
        own_copy: a model that the forger made and shows as his; None without one.
        beside_model: whether the private branch is the point, so that a judge should run it.
        unbound: (matches, bits) that the stolen model would read if a claimant were free to
            choose what he chose here; None where that is not the point.
    """

    what: str
    owner: Owner
    submitted: Passport | Manifest | TriggerSet | Path
    own_copy: nn.Module | None = None
    beside_model: bool = False
    unbound: tuple[int, int] | None = None


@dataclass(frozen=True)
class Forgery(ABC):
    """One way to claim a model that is another's: a frozen dataclass that `register` names.

    Attributes:
        name: how it is called.
        needs: what the forger has to have.
        unknown: what he must not be told: what the published rule would keep secret, or ours.
        source: who described it.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[Need, ...]]
    unknown: ClassVar[tuple[str, ...]]
    source: ClassVar[str]

    def published(
        self,
        stolen: Stolen,  # noqa: ARG002 - for those that apply
        generator: torch.Generator,  # noqa: ARG002
    ) -> PublishedClaim | None:
        """The claim under the published rule.

        Args:
            stolen: a model marked in the published form.
            generator: of every random choice, on the CPU.

        Returns:
            The claim; None where the published rule has nothing that could be forged this way.
        """
        return None

    @abstractmethod
    def claims(self, stolen: Stolen, generator: torch.Generator) -> tuple[Claim, ...]:
        """What can be handed in under our rule.

        Args:
            stolen: a model marked by this package.
            generator: of every random choice, on the CPU.

        Returns:
            One claim or more: the forger tries all of them.

        Raises:
            OptionError: the forgery does not fit the model.
        """


_REGISTRY: dict[str, type[Forgery]] = {}
_Kind = TypeVar("_Kind", bound=type[Forgery])


def register(
    name: str, *, needs: tuple[Need, ...], unknown: tuple[str, ...], source: str
) -> Callable[[_Kind], _Kind]:
    """Register a forgery under a name.

    Args:
        name: unique; stands in results.
        needs: what the forger has to have.
        unknown: what he must not be told.
        source: who described it.

    Returns:
        A decorator for a frozen dataclass that derives from `Forgery`; it sets these on it.

    Raises:
        OptionError: the name is taken.
    """

    def decorate(kind: _Kind) -> _Kind:
        if name in _REGISTRY:
            raise OptionError(f"a forgery {name!r} is registered already; choose another name")
        kind.name, kind.needs, kind.unknown, kind.source = name, needs, unknown, source
        _REGISTRY[name] = kind
        return kind

    return decorate


def names() -> list[str]:
    """The names of all forgeries, in alphabetical order."""
    return sorted(_REGISTRY)


def find(name: str) -> type[Forgery]:
    """One forgery by name.

    Raises:
        OptionError: there is none of this name.
    """
    if name not in _REGISTRY:
        raise OptionError(f"no forgery {name!r}; there are: {', '.join(names())}")
    return _REGISTRY[name]


def forger(generator: torch.Generator) -> Owner:
    """A forger's own key, reproducible: it protects nothing.

    Args:
        generator: on the CPU.

    Returns:
        An owner named ``"forger"``.
    """
    drawn = torch.randint(256, (32,), generator=generator, dtype=torch.uint8)
    return Owner(bytes(drawn.tolist()), "forger")
