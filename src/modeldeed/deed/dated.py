"""The part of a deed that is about time: its timestamps, their renewals, and how to get them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from modeldeed.deed.envelope import Envelope
from modeldeed.deed.tokens import posted_tokens, with_token
from modeldeed.timestamping import TrustedAuthority, request
from modeldeed.timestamping.renewal import renewal_imprint

__all__ = ["Dated"]


class Dated:
    """An envelope with timestamps over it.

    Attributes:
        envelope: the signed payload.
        tokens: timestamp tokens over it, DER, in the order in which they came.
        renewals: rounds of later tokens over the earlier ones.
    """

    def __init__(
        self,
        envelope: Envelope,
        tokens: Sequence[bytes] = (),
        renewals: Sequence[Sequence[bytes]] = (),
    ) -> None:
        self.envelope = envelope
        self.tokens = tuple(tokens)
        self.renewals = tuple(tuple(each) for each in renewals)

    @property
    def imprint(self) -> bytes:
        """What timestamps are over, 32 bytes: SHA-256 of what was signed, with the signature."""
        return self.envelope.imprint

    @property
    def digest(self) -> str:
        """The imprint in hexadecimal; it names the deed."""
        return self.imprint.hex()

    @property
    def rounds(self) -> tuple[tuple[bytes, ...], ...]:
        """The timestamps, then their renewals round by round."""
        return (self.tokens, *self.renewals)

    def request(
        self, *, policy: str | None = None, nonce: int | None = None, renew: bool = False
    ) -> bytes:
        """A request for a timestamp over this deed; any RFC 3161 authority takes it.

        Args:
            policy: dotted identifier of the policy asked for; None leaves it to the authority.
            nonce: a positive number of at most 64 bits; None draws one.
            renew: for a timestamp over the timestamps that there are, before they expire.

        Returns:
            DER of a TimeStampReq.

        Raises:
            EvidenceError: there is nothing to renew.
        """
        return request(self._asked(renew), policy=policy, nonce=nonce)

    def accept(
        self,
        response: bytes,
        *,
        trusted: Iterable[TrustedAuthority] | None = None,
        request: bytes | None = None,
    ) -> None:
        """Add an authority's answer to this deed's timestamps, or to their renewals.

        Where it belongs is seen by what it is over. One that is there already is kept.

        Args:
            response: a TimeStampResp, or a bare token, DER.
            trusted: verify it against these authorities; None looks only at what it is over.
            request: the request it answers: nonce and policy must be its own.

        Raises:
            EvidenceError: it is malformed, refused, over something else, or does not verify.
        """
        self.tokens, *renewals = with_token(
            self.rounds,
            response,
            self.imprint,
            self.envelope.signature,
            trusted=trusted,
            request=request,
        )
        self.renewals = tuple(renewals)

    def timestamp(
        self, *authorities: TrustedAuthority, timeout: float = 30.0, renew: bool = False
    ) -> None:
        """Ask authorities over the network for timestamps, verify them, and add them.

        Two are the custom: with one the deed is flagged.

        Args:
            authorities: with URLs.
            timeout: seconds for each.
            renew: over the timestamps that there are, before they expire.

        Raises:
            OptionError: one has no URL, or none is given.
            EvidenceError: an answer does not verify, or there is nothing to renew.
        """
        for token in posted_tokens(self._asked(renew), authorities, timeout=timeout):
            self.accept(token)

    def _asked(self, renew: bool) -> bytes:
        """What the next timestamp is over."""
        if not renew:
            return self.imprint
        before = [token for tokens in self.rounds for token in tokens]
        return renewal_imprint(self.envelope.signature, before)
