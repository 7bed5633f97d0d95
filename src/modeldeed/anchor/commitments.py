"""What an anchor commits to without showing it, and the digest of an architecture."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from modeldeed.digests import canonical_json, commitment, sha256
from modeldeed.errors import OptionError
from modeldeed.evidence_model import MAX_TEXT
from modeldeed.streams import derive

__all__ = ["architecture_digest", "message_commitment", "require_text", "seed_commitment"]


def seed_commitment(seed: bytes, public_key: bytes) -> str:
    """The commitment to a model's seed that stands in its anchor, hexadecimal."""
    salt = derive(seed, "salt", "seed")
    return commitment("seed", salt, public_key, seed).hex()


def message_commitment(message: bytes, seed: bytes, public_key: bytes) -> str:
    """The commitment to a message that stands in the anchor, hexadecimal."""
    salt = derive(seed, "salt", "message")
    return commitment("message", salt, public_key, message).hex()


def require_text(option: str, text: object) -> None:
    """Refuse a text that evidence could not hold, before anything is built on it.

    Raises:
        OptionError: it is no string of 1 … 200 characters in Unicode normal form C.
    """
    if not isinstance(text, str) or not 1 <= len(text) <= MAX_TEXT:
        raise OptionError(f"{option} is a text of 1 … {MAX_TEXT} characters, got {text!r}")
    if not unicodedata.is_normalized("NFC", text) or not _encodable(text):
        raise OptionError(
            f"{option}: {text!r} is not in Unicode normal form C; "
            "pass it through unicodedata.normalize('NFC', …)"
        )


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def architecture_digest(class_name: str, state: Mapping[str, Tensor]) -> str:
    """Digest of a model's class name and of its tensors' names, shapes and dtypes, hexadecimal."""
    entries: list[Any] = [
        [name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]
        for name, tensor in sorted(state.items())
    ]
    return sha256(b"modeldeed/v1/architecture", class_name.encode(), canonical_json(entries)).hex()
