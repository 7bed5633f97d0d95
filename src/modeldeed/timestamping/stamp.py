"""A verified timestamp."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from modeldeed.timestamping.authority import Authority

__all__ = ["Stamp"]


@dataclass(frozen=True)
class Stamp:
    """What a verified token proves: these bytes existed at this time.

    It proves neither who made them nor that nobody had them before.

    Attributes:
        authority: the trusted authority that signed.
        earliest: its time less its accuracy, UTC. A token without accuracy: one second.
        latest: its time plus its accuracy, UTC.
        imprint: the SHA-256 of what existed, 32 bytes.
        info: the signed TSTInfo, DER; what keys are derived from.
        token: the whole TimeStampToken, DER.
        expires: when the first certificate of its chain expires, UTC; renew the token before.
    """

    authority: Authority
    earliest: datetime
    latest: datetime
    imprint: bytes
    info: bytes
    token: bytes
    expires: datetime
