"""Renewing timestamps before their certificates expire.

While a certificate is valid, a stolen key of its authority can be revoked. After that nobody says
anything about the key, and whoever finds it can sign any time of the past. A renewal is a
timestamp over the old ones, made while their certificates were valid: who wants to forge the old
ones later must forge the new one too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from modeldeed.digests import sha256
from modeldeed.errors import EvidenceError
from modeldeed.timestamping.checking import check
from modeldeed.timestamping.stamp import Stamp
from modeldeed.timestamping.trusted_authority import TrustedAuthority

__all__ = ["check_renewals", "renewal_imprint"]


def renewal_imprint(signature: bytes, tokens: Sequence[bytes]) -> bytes:
    """What a renewal is over.

    Args:
        signature: the deed's signature, which its first timestamps are over too.
        tokens: DER of all tokens so far, in their order; at least one.

    Returns:
        SHA-256 over the signature and the tokens, each behind its length in 8 bytes.

    Raises:
        EvidenceError: there is nothing to renew.
    """
    if not tokens:
        raise EvidenceError("there is no timestamp to renew; ask for a first one")
    return sha256(signature, *tokens)


def check_renewals(
    imprint: bytes,
    signature: bytes,
    rounds: Sequence[Sequence[bytes]],
    trusted: Iterable[TrustedAuthority],
) -> tuple[tuple[Stamp, ...], ...]:
    """Verify timestamps and all their renewals.

    Args:
        imprint: what the first round is over.
        signature: as of `renewal_imprint`.
        rounds: the tokens of each round in order; a round is over all tokens of those before.
        trusted: the authorities that count.

    Returns:
        The verified timestamps of each round; the first round dates, the others keep it alive.

    Raises:
        EvidenceError: a token does not verify or is no bare token, a round is empty, or came when
            a certificate of the round before had expired, or before that round.
        UntrustedAuthority: a token is of no trusted authority.
    """
    known = tuple(trusted)
    stamps: list[tuple[Stamp, ...]] = []
    before: list[bytes] = []
    for number, tokens in enumerate(rounds):
        if not tokens:
            raise EvidenceError(f"round {number + 1} of the timestamps is empty")
        over = renewal_imprint(signature, before) if number else imprint
        made = tuple(check(token, over, known) for token in tokens)
        if any(stamp.token != token for stamp, token in zip(made, tokens, strict=True)):
            raise EvidenceError("renewals are over bare tokens, not over responses; see token_of")
        if number:
            _require_in_time(stamps[-1], made)
        stamps.append(made)
        before += tokens
    return tuple(stamps)


def _require_in_time(old: Sequence[Stamp], new: Sequence[Stamp]) -> None:
    """Each renewal must come while all that it renews was good."""
    until = min(stamp.expires for stamp in old)
    since = max(stamp.earliest for stamp in old)
    for stamp in new:
        if stamp.latest > until:
            raise EvidenceError(
                f"a timestamp was renewed at {stamp.latest:%Y-%m-%d %H:%M:%S} UTC, after its "
                f"certificate had expired at {until:%Y-%m-%d %H:%M:%S} UTC"
            )
        if stamp.latest < since:
            raise EvidenceError("a renewal is older than what it renews; a clock was wrong")
