"""The owner: one master secret, an identity, and a seed for every model.

Everything secret in the package follows from the 32 bytes held here. They leave this module only
through one-way derivations or inside an encrypted file.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any, NoReturn

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from modeldeed import secretfile
from modeldeed.errors import OptionError
from modeldeed.identity import Identity
from modeldeed.streams import KEY_BYTES, derive

__all__ = ["Owner"]


class Owner:
    """A master secret and what follows from it: an identity, and seeds of models.

    Args:
        master: 32 secret bytes, never shown by any method.
        name: a name for people, kept beside the secret; it proves nothing.

    Raises:
        OptionError: the secret is not 32 bytes long, or the name is longer than 200 characters.

    Note:
        Whoever holds the master secret is the owner. Keep a copy offline.

    Example:
        >>> owner = Owner.generate("Acme Vision")
        >>> owner
        Owner('Acme Vision', identity=...)
        >>> owner.seed("resnet-v1") == owner.seed("resnet-v2")
        False
    """

    def __init__(self, master: bytes, name: str = "") -> None:
        if len(master) != KEY_BYTES:
            raise OptionError(f"a master secret has {KEY_BYTES} bytes, got {len(master)}")
        if len(name) > 200:
            raise OptionError(f"an owner's name has at most 200 characters, got {len(name)}")
        self.name = name
        self._master = bytes(master)
        self._signing_key = Ed25519PrivateKey.from_private_bytes(derive(master, "identity"))
        self.identity = Identity(self._signing_key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, name: str = "") -> Owner:
        """Draw a new owner from the operating system's random source."""
        return cls(secrets.token_bytes(KEY_BYTES), name)

    @classmethod
    def load(cls, path: str | Path, passphrase: str) -> Owner:
        """Open an owner's encrypted secret file.

        Args:
            path: a file written by `save`.
            passphrase: what it was encrypted with.

        Returns:
            The owner.

        Raises:
            PassphraseError: the passphrase does not fit, or the file was altered.
            KeyFileError: the file is missing, truncated, malformed, or readable by other users.
        """
        master, name = secretfile.read(Path(path), passphrase)
        return cls(master, name)

    def save(self, path: str | Path, passphrase: str) -> None:
        """Write the secret encrypted (scrypt, AES-256-GCM), readable by this user only.

        Args:
            path: a new file; an existing one is never overwritten, it may be the only copy.
            passphrase: at least 8 characters.

        Raises:
            KeyFileError: the file exists already, or its folder does not.
            OptionError: the passphrase is too short.
        """
        secretfile.write(Path(path), self._master, self.name, passphrase)

    def seed(self, label: str) -> bytes:
        """The 32-byte seed of one model; with it that model's marks can be opened, and no other's.

        Args:
            label: the owner's name for the model, at least one character.

        Raises:
            OptionError: the label is empty.
        """
        if not label:
            raise OptionError("a model's label must not be empty")
        return derive(self._master, "model", label)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature of this owner's identity over a message."""
        return self._signing_key.sign(message)

    def __deepcopy__(self, _memo: dict[int, Any]) -> Owner:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("an owner is not pickled, its secret would lie open; see Owner.save")

    def __repr__(self) -> str:
        return f"Owner({self.name!r}, identity={self.identity.fingerprint[:16]})"
