"""Which forgeries the experiment runs, and how hard each tries."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import JsonValue

from modeldeed.attacks import forgery
from modeldeed.attacks.forgery import Forgery

__all__ = ["KEYS", "described", "tries"]

KEYS = 100_000
FEWER_KEYS = 2_000
"""Of brute force under the first seed, and under the others."""


def tries(*, first: bool) -> tuple[Forgery, ...]:
    """Every registered forgery, the quick ones first.

    Args:
        first: whether this is the first seed, which tries most keys.
    """
    own: dict[str, dict[str, Any]] = {"brute-force": {"keys": KEYS if first else FEWER_KEYS}}
    # What takes longest comes last: an interrupted run has the rest.
    names = sorted(forgery.names(), key=lambda name: name in own)
    return tuple(forgery.find(name)(**own.get(name, {})) for name in names)


def described(attempt: Forgery) -> dict[str, JsonValue]:
    """Everything about a forgery, for the card."""
    return {"forgery": attempt.name, "parameters": asdict(attempt)}
