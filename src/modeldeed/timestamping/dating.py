"""What several timestamps say together: an effective interval, and which of two came first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from modeldeed.timestamping.stamp import Stamp

__all__ = ["Dating", "effective", "order"]


@dataclass(frozen=True)
class Dating:
    """When something existed, by the authorities that say so.

    Attributes:
        earliest: begin of the effective interval, UTC; None when undated.
        latest: its end, UTC; None when undated.
        authorities: names of the authorities, sorted; one for each root.
        word: how it is said in reports.
    """

    earliest: datetime | None = None
    latest: datetime | None = None
    authorities: tuple[str, ...] = ()
    word: Literal["undated", "dated, single authority", "dated"] = "undated"


def effective(stamps: Sequence[Stamp]) -> Dating:
    """The effective interval of verified timestamps over one thing.

    With two or more authorities it is the second-earliest: one of them alone, mistaken or bribed,
    cannot date something back. Authorities under one root are one authority.

    Args:
        stamps: verified, all over the same imprint, in any order.

    Returns:
        Undated for no stamps; of one authority its earliest, flagged; otherwise the second-earliest
        begin and the second-earliest end of the authorities' own earliest intervals.

    Example:
        >>> effective([]).word
        'undated'
    """
    by_root: dict[str, list[Stamp]] = {}
    for stamp in stamps:
        by_root.setdefault(stamp.authority.root, []).append(stamp)
    if not by_root:
        return Dating()
    # The n-th smallest of unknown times lies between the n-th smallest bounds.
    place = min(len(by_root), 2) - 1
    return Dating(
        earliest=sorted(min(s.earliest for s in own) for own in by_root.values())[place],
        latest=sorted(min(s.latest for s in own) for own in by_root.values())[place],
        authorities=tuple(sorted(min(s.authority.name for s in own) for own in by_root.values())),
        word="dated" if place else "dated, single authority",
    )


def order(a: Dating, b: Dating) -> Literal["before", "after", "unknown"]:
    """Which of two came first.

    Returns:
        ``"before"`` if all of a's interval lies before b's, ``"after"`` if all of it lies after,
        ``"unknown"`` if they overlap or touch, or one is undated.
    """
    if a.latest is not None and b.earliest is not None and a.latest < b.earliest:
        return "before"
    if b.latest is not None and a.earliest is not None and b.latest < a.earliest:
        return "after"
    return "unknown"
