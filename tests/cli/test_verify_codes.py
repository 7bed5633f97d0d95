"""``modeldeed verify``: the table of exit codes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from modeldeed.cli.exit_codes import ExitCode, code_of, code_of_verdict
from modeldeed.errors import (
    DataError,
    EvidenceError,
    HostError,
    KeyFileError,
    OptionError,
    PlanError,
    SuspectError,
)
from modeldeed.passport.evidence import files
from modeldeed.results import Verdict
from tests.cli.conftest import Claim, Run


def test_the_codes_are_frozen() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "OK": 0,
        "NOT_VERIFIED": 1,
        "USAGE": 2,
        "INCONCLUSIVE": 3,
        "EVIDENCE_INVALID": 4,
        "UNREADABLE_SUSPECT": 5,
        "INTERNAL": 70,
        "INTERRUPTED": 130,
        "OUTPUT_CLOSED": 141,
    }
    assert [int(code_of_verdict(verdict)) for verdict in Verdict] == [0, 1, 3, 4]
    codes = {EvidenceError: 4, SuspectError: 5, HostError: 5}
    for error in (DataError, KeyFileError, OptionError, PlanError, EvidenceError, SuspectError,
                  HostError, OSError):  # fmt: skip
        assert code_of(error("x")) == codes.get(error, 2)


# --- verdicts ---


def test_the_right_key_is_verified(run: Run, claim: Claim) -> None:
    done = run(*claim.verify())
    assert done.code == 0, done.err
    assert done.out.startswith("Verified: 160 of 160 bits match, 155 are needed")
    assert done.err == ""


def test_another_owners_key_is_not_verified(run: Run, claim: Claim) -> None:
    done = run(*claim.verify(key="stranger.key"))
    assert done.code == 1, done.err
    assert done.out.startswith("Not verified: the key is not this passport's")
    assert done.err == ""


def test_unmarked_weights_are_not_verified(run: Run, claim: Claim) -> None:
    done = run(*claim.verify("unmarked.safetensors"))
    assert done.code == 1, done.err
    assert done.out.startswith("Not verified: ")


def test_a_claim_of_few_bits_is_inconclusive(run: Run, claim: Claim) -> None:
    done = run(*claim.verify("few.safetensors", passport="few-passport"), "--json")
    assert done.code == 3, done.err
    report = json.loads(done.out)
    assert report["verdict"] == "inconclusive"
    assert (report["signature"]["matches"], report["signature"]["bits"]) == (64, 64)
    assert "fewer than 128 bits never verify" in report["reason"]


# --- evidence ---


@pytest.fixture
def edited(claim: Claim, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that copies the passport with changed fields, signed again or not."""

    def edit(*, signed: bool, **changes: Any) -> Path:
        folder = tmp_path / "passport"
        shutil.copytree(claim.path("passport"), folder)
        manifest = files.load_manifest(folder).model_copy(update=changes)
        if signed:
            manifest = manifest.signed_by(claim.owner, state=manifest.state)
        (folder / "passport.json").write_bytes(manifest.to_json())
        return folder

    return edit


def test_an_untouched_copy_is_as_good(run: Run, claim: Claim, edited: Any) -> None:
    assert run(*claim.verify(passport=edited(signed=True))).code == 0


@pytest.mark.parametrize("key", ["owner.key", "stranger.key"])
def test_an_altered_passport_is_invalid(run: Run, claim: Claim, edited: Any, key: str) -> None:
    folder = edited(signed=False, calls={"norm1": 2, "norm2": 1, "norm3": 1})
    done = run(*claim.verify(passport=folder, key=key))
    assert (done.code, done.out) == (4, "")
    assert "the passport was altered" in done.err


def test_a_passport_under_another_label_is_invalid(run: Run, claim: Claim, edited: Any) -> None:
    done = run(*claim.verify(passport=edited(signed=True, label="another")))
    assert (done.code, done.out) == (4, "")
    assert "issued under another label" in done.err


def test_altered_state_is_invalid(run: Run, claim: Claim, edited: Any) -> None:
    folder = edited(signed=True)
    (state,) = folder.glob("state-*")
    state.write_bytes(state.read_bytes()[:-1] + b"\x7f")
    done = run(*claim.verify(passport=folder))
    assert (done.code, done.out) == (4, "")
    assert state.name in done.err


# --- suspects ---


def without(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if name != "conv2.weight"}


SUSPECTS: dict[str, tuple[Callable[[dict[str, Tensor]], dict[str, Tensor]], str]] = {
    "missing": (without, "lacks 1 of 6 tensors"),
    "misshapen": (
        lambda s: {**s, "conv2.weight": torch.zeros(64, 32, 5, 5)},
        "has shape (64, 32, 5, 5)",
    ),
    "renamed": (lambda s: {f"net.{n}": t for n, t in s.items()}, "similar names: net.conv"),
    "integers": (lambda s: {**s, "conv2.weight": s["conv2.weight"].to(torch.int8)}, "torch.int8"),
}


@pytest.mark.parametrize("kind", SUSPECTS)
def test_an_unreadable_suspect_is_told(run: Run, claim: Claim, tmp_path: Path, kind: str) -> None:
    change, words = SUSPECTS[kind]
    path = tmp_path / "suspect.safetensors"
    save_file(change(claim.state), path)
    done = run(*claim.verify(str(path)))
    assert (done.code, done.out) == (5, ""), done.err
    assert done.err.startswith(f"error: {path}")
    assert words in done.err


def test_a_pickle_is_refused(run: Run, claim: Claim, tmp_path: Path) -> None:
    torch.save(claim.state, tmp_path / "suspect.pt")
    done = run(*claim.verify(str(tmp_path / "suspect.pt")))
    assert (done.code, done.out) == (5, "")
    assert "is a pickle" in done.err


def test_missing_weights_are_named(run: Run, claim: Claim) -> None:
    done = run(*claim.verify("nowhere.safetensors"))
    assert (done.code, done.out) == (5, "")
    assert "nowhere.safetensors cannot be read" in done.err


# --- usage ---

USAGE: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "bad option": ({}, ["--no-such-option"], "No such option"),
    "bad number": ({}, ["--decoys", "0"], "decoys"),
    "missing key": ({"key": None}, [], "--key"),
    "missing key file": ({"key": "nowhere.key"}, [], "nowhere.key cannot be read"),
    "no key file": ({"key": "tiny_host.py"}, [], "tiny_host.py"),
    "missing passphrase": ({"passphrase_file": None}, [], "no terminal to ask"),
    "missing passphrase file": ({"passphrase_file": "nowhere.txt"}, [], "nowhere.txt cannot be"),
    "empty passphrase": ({"passphrase_file": "empty.txt"}, [], "empty first line"),
    "wrong passphrase": ({"passphrase_file": "wrong.txt"}, [], "passphrase is wrong"),
    "model without data": ({"model": "tiny_host:build"}, [], "--model and --data go together"),
    "data without model": ({"data": "digits"}, [], "--model and --data go together"),
    "no reference": ({"model": "build", "data": "digits"}, [], "not of the form module:function"),
    "no such module": ({"model": "nowhere:f", "data": "digits"}, [], "cannot be imported"),
    "no such function": ({"model": "tiny_host:f", "data": "digits"}, [], "cannot be imported"),
    "no function": ({"model": "tiny_host:value", "data": "digits"}, [], "is a int, not a function"),
    "no module": ({"model": "tiny_host:no_module", "data": "digits"}, [], "returned a int"),
}


@pytest.mark.parametrize("case", USAGE)
def test_wrong_usage_is_told(run: Run, claim: Claim, case: str) -> None:
    options, more, words = USAGE[case]
    done = run(*claim.verify(**options), *more)
    assert (done.code, done.out) == (2, ""), done.err
    assert words in " ".join(done.err.split())


def test_a_key_file_open_to_others_is_told(run: Run, claim: Claim, tmp_path: Path) -> None:
    key = tmp_path / "open.key"
    shutil.copy(claim.path("owner.key"), key)
    key.chmod(0o644)
    done = run(*claim.verify(key=key))
    assert (done.code, done.out) == (2, "")
    assert f"chmod 600 {key}" in done.err


def test_a_passphrase_prompt_broken_off_is_no_verdict(run: Run, claim: Claim) -> None:
    """The usual code of an abort is 1, but that says "not verified"."""
    done = run(
        *claim.verify(passphrase_file=None),
        before="import types, typer\n"
        "from modeldeed.cli import options\n"
        "def broken_off(*a, **k): raise typer.Abort()\n"
        "typer.prompt = broken_off\n"
        "terminal = types.SimpleNamespace(isatty=lambda: True)\n"
        "options.sys = types.SimpleNamespace(stdin=terminal)",
    )
    assert (done.code, done.out) == (2, "")
    assert "no passphrase was given" in done.err


# --- defects ---


def test_a_defect_is_called_one(run: Run, claim: Claim) -> None:
    done = run(
        *claim.verify(),
        before="from modeldeed import verification\n"
        "def broken(*a, **k): raise ZeroDivisionError('boom')\n"
        "verification.verify = broken",
    )
    assert (done.code, done.out) == (70, "")
    assert "ZeroDivisionError: boom" in done.err
    assert "this is a defect of modeldeed" in done.err


# --- once more without the fork ---


@pytest.mark.parametrize(
    ("weights", "code", "words"),
    [("marked.safetensors", 0, "Verified"), ("nowhere", 5, "cannot be read")],
)
def test_a_fresh_process_ends_alike(claim: Claim, weights: str, code: int, words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from modeldeed.cli import main; main()", *claim.verify(weights)],
        cwd=claim.folder,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, done.stderr
    assert words in (done.stderr if code else done.stdout)
    assert (done.stdout == "") == bool(code)
    assert (done.stderr == "") != bool(code)
