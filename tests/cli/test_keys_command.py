"""``modeldeed keygen`` and ``owner show``: the public part is shown, the secret never."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest

from modeldeed import Owner, __version__
from tests.cli.conftest import Claim, Done, Run
from tests.conftest import PASSPHRASE


def secret_forms(owner: Owner) -> list[str]:
    secrets = [owner._master, owner._signing_key.private_bytes_raw(), owner.seed("model")]
    return [
        form for s in secrets for form in (s.hex(), base64.b64encode(s).decode(), repr(s)[2:-1])
    ]


def shows_secret(done: Done, owner: Owner) -> bool:
    shown = done.out + done.err
    return PASSPHRASE in shown or any(form in shown for form in secret_forms(owner))


def test_a_new_key_is_shown_by_its_public_part(run: Run, tmp_path: Path, claim: Claim) -> None:
    path = tmp_path / "new.key"
    passphrase = ("--passphrase-file", "passphrase.txt")
    made = run("keygen", path, "--name", "Acme Vision", *passphrase)
    assert made.code == 0, made.err
    owner = Owner.load(path, PASSPHRASE)
    assert made.out == owner.identity.fingerprint + "\n"
    assert str(path) in made.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = run("owner", "show", path, *passphrase)
    shown = run("owner", "show", path, *passphrase, "--json")
    assert (text.code, shown.code) == (0, 0)
    assert json.loads(shown.out) == {
        "name": "Acme Vision",
        "public_key": owner.identity.public_key.hex(),
        "fingerprint": owner.identity.fingerprint,
    }
    for words in ("Acme Vision", owner.identity.public_key.hex(), owner.identity.fingerprint):
        assert words in text.out
    for done in (made, text, shown):
        assert not shows_secret(done, owner)


def test_a_key_is_never_overwritten(run: Run, claim: Claim) -> None:
    before = claim.path("owner.key").read_bytes()
    done = run("keygen", "owner.key", "--passphrase-file", "passphrase.txt")
    assert (done.code, done.out) == (2, "")
    assert "never overwritten" in done.err
    assert claim.path("owner.key").read_bytes() == before


def test_a_short_passphrase_makes_no_key(run: Run, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("short\n")
    path = tmp_path / "new.key"
    done = run("keygen", path, "--passphrase-file", tmp_path / "short.txt")
    assert (done.code, done.out, path.exists()) == (2, "", False)
    assert "at least 8 characters" in done.err
    assert "short\n" not in done.err


@pytest.mark.parametrize("command", ["keygen", "show"])
def test_without_a_terminal_the_passphrase_must_come_by_file(
    run: Run, tmp_path: Path, command: str
) -> None:
    calls = {"keygen": ("keygen", tmp_path / "new.key"), "show": ("owner", "show", "owner.key")}
    done = run(*calls[command])
    assert (done.code, done.out) == (2, "")
    assert "give --passphrase-file" in done.err
    assert not (tmp_path / "new.key").exists()


def test_a_passphrase_is_no_argument(run: Run, tmp_path: Path) -> None:
    done = run("keygen", tmp_path / "new.key", "--passphrase", PASSPHRASE)
    assert (done.code, done.out) == (2, "")
    assert not (tmp_path / "new.key").exists()


@pytest.mark.parametrize(("file", "code"), [("wrong.txt", 2), ("nowhere.txt", 2)])
def test_a_key_that_does_not_open_is_told(run: Run, claim: Claim, file: str, code: int) -> None:
    done = run("owner", "show", "owner.key", "--passphrase-file", file)
    assert (done.code, done.out) == (code, "")
    assert not shows_secret(done, claim.owner)


def test_no_output_of_a_verification_holds_the_secret(run: Run, claim: Claim) -> None:
    calls = [claim.verify(), claim.verify(passphrase_file="wrong.txt"), claim.verify("nowhere")]
    for call in [*calls, [*claim.verify(), "--json"]]:
        assert not shows_secret(run(*call), claim.owner)


def test_the_version_and_help(run: Run) -> None:
    assert run("--version").out == __version__ + "\n"
    done = run("--help")
    assert done.code == 0
    for command in ("demo", "keygen", "owner", "plan", "verify"):
        assert command in done.out


@pytest.mark.parametrize("call", [["no-such-command"], ["verify"], ["owner", "steal"]])
def test_wrong_commands_are_usage_errors(run: Run, call: list[str]) -> None:
    done = run(*call)
    assert (done.code, done.out) == (2, "")
    assert "Usage" in done.err
