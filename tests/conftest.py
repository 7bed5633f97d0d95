"""Fixtures of all rooms: fixed owners, and secret files that open quickly."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import settings

from modeldeed.owner import Owner

settings.register_profile("modeldeed", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("modeldeed")

PASSPHRASE = "correct horse battery"


def secret_file_bytes(
    master: bytes, name: str, passphrase: str = PASSPHRASE, **changes: Any
) -> bytes:
    """Write an owner's secret file by its documented format, without the package.

    With 2^14 scrypt blocks, the fewest that are allowed, it opens in some 40 ms.
    """
    header = {
        "format": "modeldeed-owner/v1",
        "name": name,
        "kdf": "scrypt",
        "log2_n": 14,
        "r": 8,
        "p": 1,
        "salt": base64.b64encode(bytes(range(16))).decode(),
        "cipher": "AES-256-GCM",
        "nonce": base64.b64encode(bytes(range(12))).decode(),
    }
    key = hashlib.scrypt(
        passphrase.encode(), salt=bytes(range(16)), n=2**14, r=8, p=1, dklen=32, maxmem=2**26
    )
    covered = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    sealed = AESGCM(key).encrypt(bytes(range(12)), master, covered.encode())
    fields = {**header, "secret": base64.b64encode(sealed).decode(), **changes}
    return (json.dumps(fields, indent=1) + "\n").encode()


@pytest.fixture(scope="session")
def owner() -> Owner:
    """Return an owner with a fixed master secret."""
    return Owner(bytes(range(32)), "Acme Vision")


@pytest.fixture(scope="session")
def stranger() -> Owner:
    """Return another owner with a fixed master secret."""
    return Owner(bytes(range(100, 132)), "Somebody Else")


@pytest.fixture
def secret_file(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a quickly opening secret file of mode 0600."""

    def write(name: str = "owner.key", **fields: Any) -> Path:
        path = tmp_path / name
        data = secret_file_bytes(**{"master": bytes(range(32)), "name": "Acme Vision", **fields})
        path.write_bytes(data)
        path.chmod(0o600)
        return path

    return write
