"""What an authority's answer to an anchor's request must be, before anybody's trust is asked."""

from __future__ import annotations

from modeldeed.anchor import Anchor
from modeldeed.anchor.tokens import signed_time_of
from modeldeed.errors import EvidenceError
from modeldeed.timestamping import token_of
from modeldeed.timestamping.query import Query
from modeldeed.timestamping.signatures import signer_certificate
from modeldeed.timestamping.tokens import Token

__all__ = ["answer_to"]


def answer_to(query: bytes, response: bytes, anchor: Anchor) -> bytes:
    """The token in an answer, whole in itself.

    A key follows from what it signs, so a token that was damaged on its way must not be taken:
    no judge would believe it, and a mark made from it could not be made anew.

    Args:
        query: the request, DER.
        response: a TimeStampResp or a bare token, DER.
        anchor: what the request is about.

    Returns:
        The token, DER. Whether its signer may be trusted is open.

    Raises:
        EvidenceError: it is malformed, not granted, over another anchor, of another policy, the
            answer to another request, or not what its own signer signed.
    """
    token = token_of(response)
    signed_time_of(token, anchor)
    parsed = Token.from_der(token)
    if parsed.info.nonce != Query.from_der(query).nonce:
        raise EvidenceError("the timestamp answers another request: its nonce differs")
    signer_certificate(parsed)
    return token
