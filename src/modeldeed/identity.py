"""Ed25519 identities: whose signature counts, and which public keys are refused.

The common libraries accept public keys of small order, for which one signature fits every
message; such a key would let anybody "sign" for its holder. It is refused wherever a public key
enters, together with the non-canonical encodings (RFC 8032, section 5.1.3).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from modeldeed.errors import EvidenceError

__all__ = ["Identity"]

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
# The y coordinates of the eight points of small order; the two long ones have order 8.
_SMALL_ORDER_Y = frozenset(
    {
        0,
        1,
        _P - 1,
        int.from_bytes(
            bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
            "little",
        ),
        int.from_bytes(
            bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
            "little",
        ),
    }
)


def _check_point(key: bytes) -> None:
    if len(key) != 32:
        raise EvidenceError(f"an Ed25519 public key has 32 bytes, got {len(key)}")
    y = int.from_bytes(key, "little") & (2**255 - 1)
    if y >= _P:
        raise EvidenceError("this Ed25519 public key is not in canonical form; refuse its holder")
    if y in _SMALL_ORDER_Y:
        raise EvidenceError(
            "this Ed25519 public key has small order: one signature of it fits every message"
        )
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    if pow(square, (_P - 1) // 2, _P) != 1:
        raise EvidenceError("this Ed25519 public key is not a point of the curve")


@dataclass(frozen=True)
class Identity:
    """The public half of an owner: an Ed25519 key that others can check signatures with.

    Args:
        public_key: 32 bytes in the canonical encoding.

    Raises:
        EvidenceError: the key is malformed, non-canonical, off the curve or of small order.

    Example:
        >>> Identity(bytes([1]) + bytes(31))
        Traceback (most recent call last):
        modeldeed.errors.EvidenceError: this Ed25519 public key has small order: ...
    """

    public_key: bytes

    def __post_init__(self) -> None:
        _check_point(self.public_key)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the public key, 64 hexadecimal digits: the name of this identity."""
        return hashlib.sha256(self.public_key).hexdigest()

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Tell whether the signature is this identity's over exactly these bytes."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)
        except InvalidSignature:
            return False
        return True
