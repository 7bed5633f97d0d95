"""A deed's timestamp tokens: accepting an authority's answer, and asking over the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modeldeed.errors import EvidenceError, OptionError
from modeldeed.timestamping import TrustedAuthority, check, request, token_of
from modeldeed.timestamping.query import Query
from modeldeed.timestamping.renewal import renewal_imprint
from modeldeed.timestamping.tokens import Token

__all__ = ["Rounds", "posted_tokens", "with_token"]


Rounds = tuple[tuple[bytes, ...], ...]
"""The timestamps, then their renewals round by round."""


def with_token(
    rounds: Rounds,
    response: bytes,
    imprint: bytes,
    signature: bytes,
    *,
    trusted: Iterable[TrustedAuthority] | None,
    request: bytes | None,
) -> Rounds:
    """The rounds with an authority's answer, which goes where its imprint belongs.

    Args:
        rounds: of tokens so far; the first may be empty.
        response: a TimeStampResp or a bare token, DER.
        imprint: of the deed.
        signature: of the deed.
        trusted: verify it against these; None looks only at what it is over.
        request: the request it answers.

    Raises:
        EvidenceError: it is malformed, refused, over something else, or does not verify; or the
            deed's timestamps were renewed already, and it would stand among those.
    """
    token = token_of(response)
    info = Token.from_der(token).info
    if request is not None and Query.from_der(request).nonce != info.nonce:
        raise EvidenceError("the timestamp answers another request: its nonce differs")
    place = _place(rounds, info.imprint, imprint, signature)
    if trusted is not None:
        check(response, info.imprint, trusted, request=request)
    if any(token in tokens for tokens in rounds):
        return rounds
    if place < len(rounds) - 1:
        raise EvidenceError("these timestamps were renewed: another one among them would break it")
    if place == len(rounds):
        return (*rounds, (token,))
    return (*rounds[:-1], (*rounds[-1], token))


def _place(rounds: Rounds, found: bytes, imprint: bytes, signature: bytes) -> int:
    """The round that a token belongs to by what it is over; one more than there are: a new one."""
    if found == imprint:
        return 0
    for place in range(1, len(rounds) + 1):
        before = [token for tokens in rounds[:place] for token in tokens]
        if before and found == renewal_imprint(signature, before):
            return place
    raise EvidenceError(
        f"this timestamp is over {found.hex()[:16]}…, neither over this deed, whose digest is "
        f"{imprint.hex()[:16]}…, nor over its timestamps"
    )


def posted_tokens(
    imprint: bytes, authorities: Iterable[TrustedAuthority], *, timeout: float
) -> Iterator[bytes]:
    """Verified tokens of authorities that are asked over the network.

    Raises:
        OptionError: one has no URL, or none is given.
        EvidenceError: an answer does not verify.
    """
    # At first use only: the client needs an optional package.
    from modeldeed.timestamping.client import post  # noqa: PLC0415

    asked = tuple(authorities)
    if not asked:
        raise OptionError("no authority is given; two are the custom")
    for trusted in asked:
        if trusted.url is None:
            raise OptionError(
                f"the authority {trusted.authority.name} has no URL: send it the request, and "
                "accept its answer"
            )
        wanted = request(imprint, policy=trusted.authority.policy)
        response = post(trusted.url, wanted, timeout=timeout)
        yield check(response, imprint, [trusted], request=wanted).token
