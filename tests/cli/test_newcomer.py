"""What newcomers do: mix files up, name folders that are not there, call code that is a script."""

from __future__ import annotations

import shutil

import pytest
from safetensors.torch import save_file

from tests.cli.conftest import Claim, Run

STOP = """
import signal
signal.signal(signal.SIGALRM, signal.default_int_handler)
signal.setitimer(signal.ITIMER_REAL, 0.2)
"""
KEY = ("--key", "owner.key", "--passphrase-file", "passphrase.txt")
CLAIM = ("--passport", "passport", *KEY)
ATTACK = ("--model", "tiny_host:build", "--data", "digits")


def test_code_that_ends_the_program_is_named(run: Run, claim: Claim) -> None:
    (claim.folder / "script.py").write_text("import sys\nsys.exit(0)\n")
    (claim.folder / "ending.py").write_text("def build():\n    raise SystemExit(3)\n")
    for name, said in (("script", "cannot be imported"), ("ending", "failed")):
        done = run("plan", f"{name}:build", "--input-shape", "2,1,8,8")
        assert done.code == 2
        assert said in done.err
        assert "ended the program" in done.err


def test_a_batch_that_no_machine_holds_is_told_from_no_shape(run: Run) -> None:
    for shape, said in (("2,1,8,99999999999999", "too large"), ("2,1,8,-8", "not a list of sizes")):
        done = run("plan", "tiny_host:build", "--input-shape", shape)
        assert done.code == 2
        assert said in done.err


def test_the_only_copy_is_not_overwritten(run: Run, claim: Claim) -> None:
    copy = claim.folder / "only.safetensors"
    shutil.copy(claim.path("marked.safetensors"), copy)
    before = copy.read_bytes()
    done = run("attack", "prune", *ATTACK, "--weights", str(copy), "--out", str(copy))
    assert done.code == 2
    assert "only read" in done.err
    assert copy.read_bytes() == before


@pytest.mark.parametrize("out", ["attacked.pt", "attacked"])
def test_weights_are_written_under_their_own_ending(run: Run, out: str) -> None:
    done = run("attack", "prune", *ATTACK, "--weights", "marked.safetensors", "--out", out)
    assert done.code == 2
    assert ".safetensors" in done.err


def test_a_missing_folder_is_named_and_no_temporary_file(run: Run, claim: Claim) -> None:
    done = run("attack", "prune", *ATTACK, "--weights", "marked.safetensors",
               "--out", "nowhere/x.safetensors")  # fmt: skip
    assert done.code == 2
    assert "nowhere is no folder" in done.err
    assert ".part" not in done.err


def test_a_plot_is_refused_before_anybody_is_asked(run: Run, claim: Claim) -> None:
    done = run("query", "--suspect", "nobody.onnx", "--triggers", "nothing", "--key",
               "owner.key", "--plot", "course.pdf")  # fmt: skip
    assert done.code == 2
    assert ".png or .svg" in done.err


def test_an_audit_goes_to_a_folder(run: Run, claim: Claim) -> None:
    done = run("audit", *ATTACK, "--weights", "marked.safetensors", "--out", "marked.safetensors")
    assert done.code == 2
    assert "is no folder" in done.err


def test_an_error_of_the_system_names_the_file_and_no_number(run: Run) -> None:
    done = run("keygen", "/proc/nobody.key", "--passphrase-file", "passphrase.txt")
    assert done.code == 2
    assert "/proc/nobody.key" in done.err
    assert "Errno" not in done.err


def test_an_interruption_is_said(run: Run) -> None:
    done = run("audit", *ATTACK, "--weights", "marked.safetensors", "--out", "stopped", *CLAIM,
               before=STOP)  # fmt: skip
    assert done.code == 130
    assert done.err.endswith("interrupted\n")


def test_a_deed_of_the_wrong_file_is_warned_of(run: Run, claim: Claim) -> None:
    done = run("deed", "create", "unmarked.safetensors", *CLAIM, "--out", "wrong.deed")
    assert done.code == 0
    assert "does not show the mark" in done.err
    right = run("deed", "create", "marked.safetensors", *CLAIM, "--out", "right.deed")
    assert right.code == 0
    assert "Warning" not in right.err


def test_nothing_to_make_or_open_a_deed_of_names_the_options(run: Run) -> None:
    for words in (("create", "marked.safetensors"), ("open", "no.deed", "--nonce", "5a" * 16,
                  "--suspect", "marked.safetensors")):  # fmt: skip
        done = run("deed", *words, *KEY, "--out", "none")
        assert done.code == 2
        assert "--passport, --triggers or --plugin" in done.err


def test_unreadable_bits_are_not_called_chance(run: Run, claim: Claim) -> None:
    state = {n: t * float("nan") if t.is_floating_point() else t for n, t in claim.state.items()}
    save_file(state, claim.path("nan.safetensors"))
    done = run(*claim.verify("nan.safetensors"))
    assert done.code == 1
    assert "160 cannot be read" in done.out
    assert "chance would have it" not in done.out
