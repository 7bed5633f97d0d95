"""Exit codes of the command line; frozen, scripts rely on them."""

from __future__ import annotations

from enum import IntEnum

from modeldeed.errors import EvidenceError, HostError, SuspectError
from modeldeed.results import Verdict

__all__ = ["ExitCode", "code_of", "code_of_verdict"]


class ExitCode(IntEnum):
    """What an exit code means."""

    OK = 0
    NOT_VERIFIED = 1
    USAGE = 2
    INCONCLUSIVE = 3
    EVIDENCE_INVALID = 4
    UNREADABLE_SUSPECT = 5
    INTERNAL = 70
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141


_OF_VERDICT = {
    Verdict.VERIFIED: ExitCode.OK,
    Verdict.NOT_VERIFIED: ExitCode.NOT_VERIFIED,
    Verdict.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
    Verdict.EVIDENCE_INVALID: ExitCode.EVIDENCE_INVALID,
}


def code_of_verdict(verdict: Verdict) -> ExitCode:
    """The exit code of a verdict."""
    return _OF_VERDICT[verdict]


def code_of(error: Exception) -> ExitCode:
    """The exit code of a deliberate error; what is no fault of evidence or suspect is usage."""
    if isinstance(error, EvidenceError):
        return ExitCode.EVIDENCE_INVALID
    if isinstance(error, SuspectError | HostError):
        return ExitCode.UNREADABLE_SUSPECT
    return ExitCode.USAGE
