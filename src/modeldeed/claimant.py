"""Who claims a model: an owner with his secret, or a judge who was shown one model's seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

from modeldeed.errors import EvidenceError, OptionError
from modeldeed.identity import Identity
from modeldeed.streams import KEY_BYTES

__all__ = ["Claimant", "OpenedSeed"]


class Claimant(Protocol):
    """What an examination needs of whoever claims: a public identity, and seeds by label.

    `Owner` is one and has a seed for every label; `OpenedSeed` has a single one.
    """

    @property
    def identity(self) -> Identity:
        """The public half: whose signature counts."""
        ...

    def seed(self, label: str) -> bytes:
        """The 32-byte seed of one model.

        Raises:
            EvidenceError: the seed of this label is not known here.
        """
        ...


@dataclass(frozen=True)
class OpenedSeed:
    """The claim to one model as a judge holds it: everything follows from it but signatures.

    It opens the marks of one label and of no other, and signs nothing.

    Args:
        identity: whose claim it is.
        label: the owner's name for the model.
        opened: the 32 secret bytes of its seed; they are in no representation.

    Raises:
        OptionError: the seed has another length, or the label is empty.

    Example:
        >>> from modeldeed import Owner
        >>> owner = Owner.generate()
        >>> opened = OpenedSeed(owner.identity, "resnet-v1", owner.seed("resnet-v1"))
        >>> opened.seed("resnet-v2")
        Traceback (most recent call last):
        modeldeed.errors.EvidenceError: the seed of 'resnet-v1' was opened, not that of ...
    """

    identity: Identity
    label: str
    opened: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.opened) != KEY_BYTES:
            raise OptionError(f"a model's seed has {KEY_BYTES} bytes, got {len(self.opened)}")
        if not self.label:
            raise OptionError("a model's label must not be empty")

    def seed(self, label: str) -> bytes:
        """The seed of the one label.

        Raises:
            EvidenceError: another label is asked for.
        """
        if label != self.label:
            raise EvidenceError(
                f"the seed of {self.label!r} was opened, not that of {label!r}: this opening "
                "belongs to another model"
            )
        return self.opened

    def __deepcopy__(self, _memo: dict[int, Any]) -> OpenedSeed:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("an opened seed is not pickled, it would lie open")
