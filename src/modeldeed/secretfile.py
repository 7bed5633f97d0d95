"""The encrypted file of a master secret: scrypt, AES-256-GCM, mode 0600.

A file is one JSON object. Its header (format, name, key-derivation parameters) is authenticated
together with the secret, so a changed name is noticed like a changed secret.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import stat
import unicodedata
from pathlib import Path
from typing import Annotated, Any, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modeldeed.digests import canonical_json
from modeldeed.errors import KeyFileError, OptionError, PassphraseError
from modeldeed.storage import write_atomically

__all__ = ["read", "write"]

MAX_BYTES = 16_384
MIN_PASSPHRASE = 8

_Base64 = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]+={0,2}$", max_length=256)]


class _File(BaseModel):
    """The file's fields; the bounds keep a planted file from exhausting memory in scrypt."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["modeldeed-owner/v1"] = "modeldeed-owner/v1"
    name: Annotated[str, Field(max_length=200)]
    kdf: Literal["scrypt"] = "scrypt"
    log2_n: Annotated[int, Field(ge=14, le=20)] = 17
    r: Literal[8] = 8
    p: Literal[1] = 1
    salt: _Base64
    cipher: Literal["AES-256-GCM"] = "AES-256-GCM"
    nonce: _Base64
    secret: _Base64

    def header(self) -> bytes:
        return canonical_json(self.model_dump(exclude={"secret"}))

    def aead(self, passphrase: str) -> AESGCM:
        kdf = Scrypt(_decoded(self.salt), length=32, n=2**self.log2_n, r=self.r, p=self.p)
        return AESGCM(kdf.derive(_typed(passphrase)))


def _typed(passphrase: str) -> bytes:
    # The same keys give other code points on other systems; one normal form opens them all.
    return unicodedata.normalize("NFC", passphrase).encode()


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def write(path: Path, master: bytes, name: str, passphrase: str) -> None:
    """Encrypt a master secret into a new file; see `Owner.save`."""
    if len(passphrase) < MIN_PASSPHRASE:
        raise OptionError(
            f"a passphrase needs at least {MIN_PASSPHRASE} characters, got {len(passphrase)}"
        )
    if not path.parent.is_dir():
        raise KeyFileError(f"{path.parent} is not a folder; make it first")
    blank = _File(
        name=name,
        salt=_encoded(secrets.token_bytes(16)),
        nonce=_encoded(secrets.token_bytes(12)),
        secret="AA==",
    )
    sealed = blank.aead(passphrase).encrypt(_decoded(blank.nonce), master, blank.header())
    file = blank.model_copy(update={"secret": _encoded(sealed)})
    text = json.dumps(file.model_dump(), indent=1) + "\n"
    try:
        write_atomically(path, text.encode(), secret=True, overwrite=False)
    except FileExistsError as error:
        raise KeyFileError(
            f"{path} exists; a secret file is never overwritten: choose a new name"
        ) from error


def read(path: Path, passphrase: str) -> tuple[bytes, str]:
    """Open an encrypted file; see `Owner.load`.

    Returns:
        The 32-byte master secret and the owner's name.
    """
    file = _parsed(path, _checked_bytes(path))
    try:
        master = file.aead(passphrase).decrypt(
            _decoded(file.nonce), _decoded(file.secret), file.header()
        )
    except (InvalidTag, ValueError) as error:
        raise PassphraseError(
            f"{path} does not open: the passphrase is wrong or the file was altered"
        ) from error
    return master, file.name


def _checked_bytes(path: Path) -> bytes:
    try:
        status = path.stat()
        data = path.read_bytes() if status.st_size <= MAX_BYTES else b""
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from error
    if not data:
        raise KeyFileError(
            f"{path} has {status.st_size} bytes; an owner's secret file has 1 … {MAX_BYTES}"
        )
    if os.name == "posix" and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyFileError(
            f"{path} can be read by other users (mode {stat.S_IMODE(status.st_mode):04o}); "
            f"run: chmod 600 {path}"
        )
    return data


def _parsed(path: Path, data: bytes) -> _File:
    try:
        fields: dict[str, Any] = json.loads(data)
        return _File.model_validate(fields)
    except (ValueError, ValidationError, RecursionError) as error:
        raise KeyFileError(
            f"{path} is not an owner's secret file of this package, or it is truncated"
        ) from error
