"""When a deed and its anchors existed, by the authorities that a judge trusts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from modeldeed.deed.statement import MarkEntry
from modeldeed.errors import EvidenceError
from modeldeed.evidence_model import EvidenceModel
from modeldeed.timestamping import Dating, Stamp, UntrustedAuthority, check, effective
from modeldeed.timestamping.renewal import check_renewals

if TYPE_CHECKING:
    from modeldeed.deed.deed import Deed
    from modeldeed.trust import Trust

__all__ = ["Times", "TimestampCheck", "anchor_times", "deed_times", "renewal_problem"]


class TimestampCheck(EvidenceModel):
    """What became of one timestamp token.

    Attributes:
        what: ``"deed"``, or ``"anchor of …"`` with the kind of mark.
        word: ``"verified"``, ``"not counted"`` (no authority that is trusted), ``"invalid"``.
        authority: its name; None unless verified.
        earliest: begin of its interval, UTC; None unless verified.
        latest: end of it.
        reason: why it does not count; empty if it does.
    """

    what: str
    word: Literal["verified", "not counted", "invalid"]
    authority: str | None = None
    earliest: datetime | None = None
    latest: datetime | None = None
    reason: str = ""


@dataclass(frozen=True)
class Times:
    """What some tokens over one thing say.

    Attributes:
        dating: effective interval of those that count.
        looks: what became of each token.
        stamps: those that count.
    """

    dating: Dating
    looks: tuple[TimestampCheck, ...] = ()
    stamps: tuple[Stamp, ...] = ()


def deed_times(deed: Deed, trust: Trust | None) -> Times:
    """The timestamps of a deed; undated without a trust file."""
    return _times("deed", deed.imprint, deed.tokens, trust)


def anchor_times(mark: MarkEntry, trust: Trust | None) -> Times:
    """The timestamp of a mark's anchor.

    Whether it is of the authority that the anchor names is seen when the anchor is opened.
    """
    tokens = () if mark.token is None else (_decoded(mark.token),)
    return _times(f"anchor of {mark.kind}", bytes.fromhex(mark.anchor), tokens, trust)


def renewal_problem(deed: Deed, trust: Trust) -> str | None:
    """What is wrong with the renewals of a deed's timestamps; None for nothing."""
    if not deed.renewals:
        return None
    rounds = [deed.tokens, *deed.renewals]
    try:
        check_renewals(deed.imprint, deed.envelope.signature, rounds, trust.trusted)
    except EvidenceError as error:
        return f"the renewal of the timestamps does not verify: {error}"
    return None


def _times(what: str, imprint: bytes, tokens: Sequence[bytes], trust: Trust | None) -> Times:
    if trust is None:
        return Times(Dating())
    trusted = trust.trusted
    looks, stamps = [], []
    for token in tokens:
        try:
            stamp = check(token, imprint, trusted)
        except UntrustedAuthority as error:
            looks.append(TimestampCheck(what=what, word="not counted", reason=str(error)))
        except EvidenceError as error:
            looks.append(TimestampCheck(what=what, word="invalid", reason=str(error)))
        else:
            stamps.append(stamp)
            looks.append(
                TimestampCheck(
                    what=what,
                    word="verified",
                    authority=stamp.authority.name,
                    earliest=stamp.earliest,
                    latest=stamp.latest,
                )
            )
    return Times(effective(stamps), tuple(looks), tuple(stamps))


def _decoded(token: str) -> bytes:
    try:
        return base64.b64decode(token, validate=True)
    except ValueError:
        return b""  # found malformed when it is checked
