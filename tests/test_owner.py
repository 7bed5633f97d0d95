"""Owners and their secret files: nothing opens silently, nothing secret is shown."""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
import os
import pickle
import secrets
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from modeldeed.errors import KeyFileError, OptionError, PassphraseError
from modeldeed.owner import Owner
from tests.conftest import PASSPHRASE, secret_file_bytes

MASTER = bytes(range(32))
SecretFile = Callable[..., Path]


def slow_derive(*parts: bytes) -> bytes:
    """HKDF-SHA256 of the master secret under a label whose parts say their type."""
    info = b"".join(len(p).to_bytes(8, "big") + p for p in (b"modeldeed/v1", *parts))
    extracted = hmac.new(bytes(32), MASTER, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


# --- what follows from the master secret ---


def test_the_identity_follows_from_the_master_secret(owner: Owner) -> None:
    key = Ed25519PrivateKey.from_private_bytes(slow_derive(b"sidentity"))
    assert owner.identity.public_key == key.public_key().public_bytes_raw()


def test_a_models_seed_follows_from_master_secret_and_label(owner: Owner) -> None:
    assert owner.seed("resnet-v1") == slow_derive(b"smodel", b"sresnet-v1")
    assert owner.seed("1") == slow_derive(b"smodel", b"s1")


def test_seeds_differ_by_label_and_owner(owner: Owner, stranger: Owner) -> None:
    seeds = [o.seed(label) for o in (owner, stranger) for label in ("a", "b", "ab", "A", " a")]
    assert len(set(seeds)) == 10
    assert MASTER not in seeds


def test_owners_are_drawn_from_the_operating_system(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Owner.generate().identity != Owner.generate().identity
    monkeypatch.setattr(secrets, "token_bytes", lambda count: MASTER[:count])
    assert Owner.generate("x").identity == Owner(MASTER).identity


def test_signatures_are_of_the_identity(owner: Owner, stranger: Owner) -> None:
    signature = owner.sign(b"statement")
    assert owner.identity.verify(signature, b"statement")
    assert not owner.identity.verify(signature, b"statemenu")
    assert not stranger.identity.verify(signature, b"statement")


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_master_secret_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(OptionError, match=f"32 bytes, got {length}"):
        Owner(bytes(length))


def test_a_long_name_and_an_empty_label_are_refused(owner: Owner) -> None:
    with pytest.raises(OptionError, match="200 characters, got 201"):
        Owner(MASTER, "x" * 201)
    with pytest.raises(OptionError, match="label"):
        owner.seed("")


def test_the_master_secret_is_not_shown(owner: Owner) -> None:
    forms = (repr(owner), str(owner), f"{owner}", repr([owner]), repr(owner.identity))
    shown = "".join(forms).lower()
    assert "acme vision" in shown
    assert owner.identity.fingerprint[:16] in shown
    for secret in (MASTER, owner._signing_key.private_bytes_raw()):
        assert secret.hex() not in shown
        assert repr(secret).lower()[2:-1] not in shown


def test_an_owner_is_not_pickled(owner: Owner) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(owner, protocol)
    assert copy.deepcopy(owner).identity == owner.identity


# --- the secret file ---


def test_what_is_saved_opens_again(tmp_path: Path, owner: Owner) -> None:
    path = tmp_path / "owner.key"
    owner.save(path, PASSPHRASE)
    again = Owner.load(str(path), PASSPHRASE)
    assert again.identity == owner.identity
    assert again.name == owner.name
    assert again.seed("m") == owner.seed("m")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["owner.key"]
    written = path.read_bytes()
    assert MASTER not in written
    assert MASTER.hex().encode() not in written
    fields = json.loads(written)
    assert fields["log2_n"] >= 17, "fewer scrypt blocks make guessing cheap"


def test_two_files_of_one_owner_share_no_randomness(tmp_path: Path, owner: Owner) -> None:
    for name in ("a", "b"):
        owner.save(tmp_path / name, PASSPHRASE)
    a, b = (json.loads((tmp_path / name).read_bytes()) for name in ("a", "b"))
    for field in ("salt", "nonce", "secret"):
        assert a[field] != b[field]


def test_the_mode_does_not_hang_on_the_umask(tmp_path: Path, owner: Owner) -> None:
    before = os.umask(0)
    try:
        owner.save(tmp_path / "owner.key", PASSPHRASE)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "owner.key").stat().st_mode) == 0o600


def test_a_file_written_by_the_documented_format_opens(secret_file: SecretFile) -> None:
    opened = Owner.load(secret_file(name="é", master=MASTER), PASSPHRASE)
    assert opened.identity == Owner(MASTER).identity


def test_another_passphrase_does_not_open(secret_file: SecretFile) -> None:
    path = secret_file()
    for wrong in ("", "correct horse batterz", PASSPHRASE + " ", PASSPHRASE.upper()):
        with pytest.raises(PassphraseError, match="passphrase is wrong or the file was altered"):
            Owner.load(path, wrong)


def test_a_truncated_file_never_opens(secret_file: SecretFile) -> None:
    path = secret_file()
    whole = path.read_bytes()
    for length in range(len(whole) - 1):  # the last byte is white space
        path.write_bytes(whole[:length])
        with pytest.raises(KeyFileError, match=r"truncated|has 0 bytes"):
            Owner.load(path, PASSPHRASE)


def test_a_flipped_bit_never_opens_silently(secret_file: SecretFile) -> None:
    path = secret_file()
    whole = path.read_bytes()
    opened = 0
    for position in range(0, len(whole), 3):
        changed = bytearray(whole)
        changed[position] ^= 1 << (position % 7)
        path.write_bytes(changed)
        try:
            found = Owner.load(path, PASSPHRASE)
        except KeyFileError:
            continue
        # Only white space between fields may change and mean the same.
        opened += 1
        assert json.loads(changed) == json.loads(whole), position
        assert found.identity == Owner(MASTER).identity
    assert opened <= 3


@pytest.mark.parametrize("field", ["salt", "nonce", "secret"])
def test_every_character_of_the_cryptography_counts(secret_file: SecretFile, field: str) -> None:
    fields = json.loads(secret_file_bytes(MASTER, "n"))
    for position in range(0, len(fields[field]), 5):
        text = fields[field]
        other = "A" if text[position] != "A" else "B"
        path = secret_file(**{field: text[:position] + other + text[position + 1 :]}, name="n")
        with pytest.raises(KeyFileError):
            Owner.load(path, PASSPHRASE)


@pytest.mark.parametrize(
    "change",
    [
        {"log2_n": 15},
        {"format": "modeldeed-owner/v2"},
        {"kdf": "pbkdf2"},
        {"cipher": "none"},
        {"r": 1},
        {"salt": ""},
        {"salt": "####"},
        {"nonce": "AA=="},
        {"secret": "A" * 256},
        {"more": 1},
        {"log2_n": 14.0},
        {"log2_n": "14"},
    ],
    ids=str,
)
def test_a_changed_field_is_noticed(secret_file: SecretFile, change: dict[str, Any]) -> None:
    with pytest.raises(KeyFileError):
        Owner.load(secret_file(**change), PASSPHRASE)


def test_a_changed_name_is_noticed(secret_file: SecretFile) -> None:
    path = secret_file()
    path.write_bytes(path.read_bytes().replace(b"Acme Vision", b"Acme Fusion"))
    with pytest.raises(PassphraseError):
        Owner.load(path, PASSPHRASE)


@pytest.mark.parametrize(
    "planted", [{"log2_n": 21}, {"log2_n": 62}, {"log2_n": 10**30}, {"r": 2**20}, {"p": 2**25}]
)
def test_giant_scrypt_parameters_are_refused_at_once(
    secret_file: SecretFile, planted: dict[str, int]
) -> None:
    path = secret_file(**planted)
    start = time.perf_counter()
    with pytest.raises(KeyFileError, match="not an owner's secret file"):
        Owner.load(path, PASSPHRASE)
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize(
    "content", [b"[]", b"null", b"{}", b"\xff\xfe", b"[" * 16_000, b"\x80\x04K\x01.", b"3"]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "owner.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="not an owner's secret file"):
        Owner.load(path, PASSPHRASE)


def test_a_large_or_missing_file_is_refused(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(b" " * 16_385)
    large.chmod(0o600)
    with pytest.raises(KeyFileError, match="16385 bytes"):
        Owner.load(large, PASSPHRASE)
    with pytest.raises(KeyFileError, match=r"missing cannot be read: No such file"):
        Owner.load(tmp_path / "missing", PASSPHRASE)
    with pytest.raises(KeyFileError):
        Owner.load(tmp_path, PASSPHRASE)


@pytest.mark.skipif(os.name != "posix", reason="modes are a POSIX matter")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o610, 0o602])
def test_a_file_open_to_others_is_refused(secret_file: SecretFile, mode: int) -> None:
    path = secret_file()
    path.chmod(mode)
    with pytest.raises(KeyFileError) as caught:
        Owner.load(path, PASSPHRASE)
    assert f"chmod 600 {path}" in str(caught.value)
    assert f"{mode:04o}" in str(caught.value)


def test_an_existing_file_is_never_overwritten(secret_file: SecretFile, stranger: Owner) -> None:
    path = secret_file()
    before = path.read_bytes()
    with pytest.raises(KeyFileError, match="never overwritten"):
        stranger.save(path, PASSPHRASE)
    assert path.read_bytes() == before
    with pytest.raises(KeyFileError, match="not a folder"):
        stranger.save(path.parent / "no" / "such.key", PASSPHRASE)


@pytest.mark.parametrize("passphrase", ["", "1234567"])
def test_a_short_passphrase_is_refused(tmp_path: Path, owner: Owner, passphrase: str) -> None:
    with pytest.raises(OptionError, match=f"at least 8 characters, got {len(passphrase)}"):
        owner.save(tmp_path / "owner.key", passphrase)
    assert os.listdir(tmp_path) == []
