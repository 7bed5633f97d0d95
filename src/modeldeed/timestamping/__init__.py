"""Timestamps by RFC 3161: requests, tokens, their verification offline, and what they date."""

from modeldeed.timestamping.authority import Authority
from modeldeed.timestamping.checking import UntrustedAuthority, check
from modeldeed.timestamping.dating import Dating, effective, order
from modeldeed.timestamping.query import request
from modeldeed.timestamping.stamp import Stamp
from modeldeed.timestamping.tokens import MAX_TOKEN_BYTES, signed_info, token_of
from modeldeed.timestamping.trusted_authority import TrustedAuthority

__all__ = [
    "MAX_TOKEN_BYTES",
    "Authority",
    "Dating",
    "Stamp",
    "TrustedAuthority",
    "UntrustedAuthority",
    "check",
    "effective",
    "order",
    "request",
    "signed_info",
    "token_of",
]
