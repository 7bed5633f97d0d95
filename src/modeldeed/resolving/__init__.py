"""Disputes: several claims to one suspect, examined step by step and set in relation."""

from modeldeed.resolving.others import Exhibit
from modeldeed.resolving.resolve import draw_nonce, resolve, suspect_digest
from modeldeed.resolving.results import Resolution

__all__ = ["Exhibit", "Resolution", "draw_nonce", "resolve", "suspect_digest"]
