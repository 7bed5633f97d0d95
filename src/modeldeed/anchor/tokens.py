"""The timestamp token over an anchor: what of it enters the model key, what it must be about."""

from __future__ import annotations

from modeldeed.anchor._anchor import Anchor
from modeldeed.errors import EvidenceError
from modeldeed.timestamping.tokens import Token

__all__ = ["signed_time_of"]


def signed_time_of(token: bytes, anchor: Anchor) -> bytes:
    """τ: the bytes that the authority signed, after a look at what they are about.

    The signature is not checked: that needs a judge's own list of authorities, and a key follows
    from these bytes whoever signed them. See `modeldeed.anchoring.standing`.

    Args:
        token: a TimeStampToken, DER.
        anchor: what it has to be about.

    Returns:
        The TSTInfo, DER. What else is in a token (signatures, certificates, their order) can be
        written anew by anybody and does not count.

    Raises:
        EvidenceError: the anchor names no authority; the token is malformed, over other bytes,
            or of another policy.
    """
    authority = anchor.authority
    if authority is None:
        raise EvidenceError("a timestamp token, but this anchor names no authority for one")
    parsed = Token.from_der(token)
    info = parsed.info
    if info.imprint.hex() != anchor.digest:
        raise EvidenceError(
            f"the timestamp token is over {info.imprint.hex()[:16]}…, not over this anchor, whose "
            f"digest is {anchor.digest[:16]}…"
        )
    if info.policy != authority.policy:
        raise EvidenceError(
            f"the timestamp token is of the policy {info.policy}, and this anchor names "
            f"{authority.policy}, of {authority.name}"
        )
    return parsed.info_bytes
