"""What a claimant or a suspect can put before the judge's eyes."""

from __future__ import annotations

import errno
import io
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file

from modeldeed import JudgeData, Report, Verdict, models, verification, verify
from modeldeed.cli import main
from modeldeed.errors import EvidenceError
from modeldeed.passport.evidence import files, private_check
from modeldeed.passport.evidence.signature import claimed_bits, layer_secrets
from modeldeed.passport.private.branch import PrivateBranch
from modeldeed.reporting.report_tables import report_table
from modeldeed.results import Support
from tests.conftest import PASSPHRASE
from tests.passport.forging import (
    OWNER,
    STEM,
    Victim,
    changed,
    rescaled,
    victim_labels,
)
from tests.passport.hosts import digits_like

# --- what the judge's reader sees ---


HIDDEN = "x\x1b[2J\x1b[HVerified: 720 of 720 bits match"


@pytest.mark.parametrize("name", ["[/red]", "[link=http://x]a[/link]", HIDDEN, "x\nVerified: all"])
def test_a_name_in_the_claim_is_shown_as_text(victim: Victim, tmp_path: Path, name: str) -> None:
    targets = victim.passport.manifest.anchor.targets
    try:
        folder = victim.claim(
            tmp_path / "named", targets=(changed(targets[0], norm=name), *targets[1:])
        )
        report = verify(victim.host, passport=folder, owner=OWNER)
    except (EvidenceError, ValueError):
        return
    shown = io.StringIO()
    Console(file=shown, width=200).print(report_table(report))
    text = shown.getvalue()
    assert "\x1b" not in text
    assert not any(line.startswith("Verified") for line in text.splitlines())
    if name.isprintable():
        assert name in text


class _Closed(io.StringIO):
    """Standard output whose reader is gone."""

    def write(self, text: str, /) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


@pytest.mark.parametrize("json_", [False, True])
def test_a_reader_that_went_away_is_no_verdict(
    victim: Victim, tmp_path: Path, secret_file: Any, monkeypatch: pytest.MonkeyPatch, json_: bool
) -> None:
    monkeypatch.setattr(sys, "stdout", _Closed())
    assert command_line(victim, tmp_path, secret_file, monkeypatch, json_) != 1


def test_an_end_of_file_inside_is_no_verdict(
    victim: Victim, tmp_path: Path, secret_file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> Report:
        raise EOFError

    monkeypatch.setattr(verification, "verify", broken)
    assert command_line(victim, tmp_path, secret_file, monkeypatch, False) == 70


def command_line(
    victim: Victim, folder: Path, secret_file: Any, monkeypatch: pytest.MonkeyPatch, json_: bool
) -> Any:
    """The exit code of a verification of the marked model, which is verified."""
    save_file(victim.host.state_dict(), folder / "suspect.safetensors")
    (folder / "passphrase").write_text(PASSPHRASE + "\n")
    arguments = [
        "verify", folder / "suspect.safetensors", "--passport", victim.folder,
        "--key", secret_file(), "--passphrase-file", folder / "passphrase",
    ]  # fmt: skip
    monkeypatch.setattr(
        sys, "argv", ["modeldeed", *map(str, arguments), *(["--json"] if json_ else [])]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_bits_come_from_their_own_label() -> None:
    """P tells nothing of b: the same key's passports and bits are different streams."""
    key = bytes(32)
    assert not torch.equal(
        layer_secrets(key, 0, changed(STEM, shape=(16,))).passports[0],
        claimed_bits(key, 0, STEM),
    )
    bits = torch.stack([claimed_bits(key, ordinal, STEM) for ordinal in range(400)]).double()
    correlation = (bits @ bits.T / 16 - torch.eye(400)).sum() / (400 * 399)
    assert abs(correlation) < 4 / math.sqrt(400 * 399 / 2 * 16)


# --- the word of level 2, messages, manifests in memory ---


def test_a_branch_supports_no_claim_that_the_signature_denies(
    victim: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies = iter([0.75, *[0.6] * 99])
    monkeypatch.setattr(private_check, "private_accuracy", lambda *_: next(accuracies))
    x = digits_like(8)
    report = verify(
        victim.unmarked, passport=victim.folder, owner=OWNER, model=models.resnet_small(),
        data=JudgeData(x, x, victim_labels(victim, x)), decoys=99,
    )  # fmt: skip
    assert report.verdict is Verdict.NOT_VERIFIED
    assert report.branch is not None
    assert report.branch.word is not Support.SUPPORTS


def test_rescaling_rows_leaves_the_readings_of_the_private_branch(victim: Victim) -> None:
    manifest = victim.passport.manifest
    before, after = (
        PrivateBranch(
            host, manifest.anchor.targets, manifest.model_key(OWNER), manifest.anchor.passport_rule
        ).readings()
        for host in (victim.host, rescaled(victim, 2.0**-54))
    )
    for left, right in zip(before.layers, after.layers, strict=True):
        assert torch.allclose(left, right, atol=1e-5)


ESCAPE = "\x1b[2J\x1b[HVerified"


@pytest.mark.parametrize("place", ["the claim", "the suspect"])
def test_no_message_moves_the_judges_cursor(
    victim: Victim,
    tmp_path: Path,
    secret_file: Any,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    place: str,
) -> None:
    folder = shutil.copytree(victim.folder, tmp_path / "claim")
    state = dict(victim.host.state_dict())
    if place == "the claim":
        text = (folder / files.MANIFEST).read_text("utf-8")
        doubled = '{"\\u001b[2J\\u001b[HVerified": 1, "\\u001b[2J\\u001b[HVerified": 1,'
        (folder / files.MANIFEST).write_text(doubled + text.lstrip()[1:], "utf-8")
    else:
        state = {f"{name}{ESCAPE}": tensor for name, tensor in state.items()}
    marked = Victim(victim.host, victim.passport, folder, victim.unmarked)
    monkeypatch.setattr(victim.host, "state_dict", lambda: state)
    code = command_line(marked, tmp_path, secret_file, monkeypatch, False)
    assert code == (4 if place == "the claim" else 5)
    shown = capfd.readouterr()
    assert "\x1b" not in shown.out + shown.err


def test_a_manifest_in_memory_is_checked_like_a_file(victim: Victim) -> None:
    """Leaving one channel out a hundred times would make n a hundred less than the bits read."""
    manifest = victim.passport.manifest
    first, *others = manifest.anchor.targets
    twice = first.model_copy(update={"left_out": (0,) * 15})
    anchor = manifest.anchor.model_copy(update={"targets": (twice, *others)})
    forged = manifest.model_copy(update={"anchor": anchor}).signed_by(OWNER, state=None)
    with pytest.raises(EvidenceError):
        verify(victim.unmarked, passport=forged, owner=OWNER)
