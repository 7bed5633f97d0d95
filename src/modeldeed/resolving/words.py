"""The words of a resolution; there are no others.

They say what was found and in which order, and never call anybody anything: presence alone does
not decide who owns a model.
"""

from __future__ import annotations

from enum import Enum

__all__ = ["Order", "Presence", "Relation", "Standing", "Void"]


class Presence(str, Enum):
    """Whether a claim's mark was read in a model."""

    PRESENT = "present"
    ABSENT = "absent"
    UNDECIDED = "undecided"


class Order(str, Enum):
    """How two dated intervals lie; overlapping or missing ones are unknown."""

    BEFORE = "before"
    AFTER = "after"
    UNKNOWN = "unknown"


class Void(str, Enum):
    """Why a claim is no evidence."""

    EARLIER_CARRIER = "earlier carrier"
    FORGED = "forged"
    ALTERED = "altered"


class Standing(str, Enum):
    """How a deed's date lies to the suspect's earliest proven existence."""

    BEFORE = "dated before the suspect"
    LATER = "mark present, dated later"
    OPEN = "order unknown"
    NOT_ASKED = "no date of the suspect was stated"


class Relation(str, Enum):
    """What claims are to each other and to the suspect; A and B stand for their names."""

    ONLY = "only A"
    UPSTREAM = "A upstream of B"
    LICENSED = "A upstream of B, licensed"
    CONFLICT = "conflict"
    MERGE = "both present, references independent (merge)"
    ORDER_UNKNOWN = "order unknown"
    UNRELATED = "unrelated"
    VOID_EARLIER_CARRIER = "void (earlier carrier)"
    VOID_FORGED = "void (forged)"
    VOID_ALTERED = "void (altered)"

    @classmethod
    def of_void(cls, reason: Void) -> Relation:
        """The relation of a claim that is no evidence."""
        return cls(f"void ({reason.value})")

    def worded(self, first: str, second: str = "B") -> str:
        """The words with the claims' names in them.

        Example:
            >>> Relation.LICENSED.worded("acme", "beta")
            'acme upstream of beta, licensed'
        """
        if self in (Relation.ONLY, Relation.UPSTREAM, Relation.LICENSED):
            head, _, tail = str(self.value).partition("A")
            return head + first + tail.replace("B", second, 1)
        return str(self.value)
