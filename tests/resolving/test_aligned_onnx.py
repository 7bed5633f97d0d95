"""An ONNX file as the suspect of a deed: its weights are read, and it is asked as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from modeldeed import verify
from modeldeed.cli import main
from modeldeed.errors import OptionError
from modeldeed.resolving import Exhibit, resolve, suspect_digest
from modeldeed.resolving.examinee import Examinee
from modeldeed.resolving.words import Void
from modeldeed.results import Verdict
from modeldeed.suspects import open_weights
from modeldeed.suspects.answering import open_suspect
from tests.alignment.exported import exported
from tests.resolving.conftest import World
from tests.resolving.test_aligned import X, composed, model_of
from tests.resolving.world import NONCE, days, dispute, host, saved

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def moved(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    suspect = composed(model_of(world.acme.state))
    return exported(suspect, X, tmp_path_factory.mktemp("suspect") / "moved.onnx")


def test_a_file_has_one_digest_however_it_is_examined(moved: Path) -> None:
    with open_suspect(moved) as suspect:
        assert open_weights(moved).digest() == suspect.identity() == suspect_digest(moved)


def test_a_deed_is_verified_in_a_file(world: World, moved: Path, tmp_path: Path) -> None:
    acme = world.acme
    given: dict[str, Any] = {
        "deed": acme.deed,
        "opening": acme.deed.open(acme.owner, suspect_digest(moved), NONCE, marks=[acme.manifest]),
        "reference": saved(acme.state, tmp_path / "reference.safetensors"),
        "trust": world.trust,
        "nonce": NONCE,
    }
    report = verify(moved, **given, unmarked=acme.unmarked, reference_model=host(0))
    assert report.verdict is Verdict.VERIFIED
    assert report.reason.startswith("lineage: aligned to the registered reference, ")
    assert report.aligned is not None
    assert report.aligned.matches == report.aligned.bits == 192
    # The architecture of the suspect is not needed: what is given is the reference's.
    report = verify(moved, **given, unmarked=acme.unmarked, model=host(0))
    assert report.verdict is Verdict.VERIFIED
    report = verify(moved, **given, unmarked=acme.unmarked)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "no model code that fits the reference" in report.reason
    with pytest.raises(OptionError, match="triggers or plugin"):
        verify(moved, **given)


def test_the_command_reads_a_file(
    world: World,
    moved: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "acmecode.py").write_text(
        "from tests.resolving.world import host\n\ndef build():\n    return host(0)\n"
    )
    monkeypatch.chdir(tmp_path)
    claim = world.acme.hand_in(tmp_path / "claims", moved)
    (tmp_path / "trust.json").write_bytes(world.trust.to_json())
    arguments = [
        "verify", str(moved), "--deed", str(claim), "--trust", "trust.json",
        "--opening", str(claim / "opening.json"), "--nonce", NONCE,
        "--reference", str(claim / "reference.safetensors"),
    ]  # fmt: skip
    exhibit = ["--unmarked", str(claim / "unmarked.safetensors")]
    for more, code in (([], 2), (exhibit, 3), ([*exhibit, "--model", "acmecode:build"], 0)):
        monkeypatch.setattr("sys.argv", ["modeldeed", *arguments, *more])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == code
    assert "lineage: aligned to the registered reference" in " ".join(
        capsys.readouterr().out.split()
    )


def test_a_dispute_reads_a_file(world: World, moved: Path, tmp_path: Path) -> None:
    found = dispute(
        tmp_path, [world.acme, world.other], moved, world.trust, model=host(0),
        suspect_date=days(20),
    )  # fmt: skip
    claim = found.claim("acme")
    assert claim.verdict is Verdict.VERIFIED
    assert claim.aligned is not None
    assert claim.aligned.matches == 192
    assert found.claim("other").verdict is not Verdict.VERIFIED


def test_a_file_that_is_older_ends_a_claim(world: World, moved: Path, tmp_path: Path) -> None:
    suspect = saved(world.acme.state, tmp_path / "suspect.safetensors")
    claim = world.acme.hand_in(tmp_path / "claims", suspect)
    found = resolve(
        [claim], suspect, nonce=NONCE, trust=world.trust, model=host(0),
        exhibits=[Exhibit(moved, days(-30), name="older")],
    )  # fmt: skip
    assert found.claim("acme").void is Void.EARLIER_CARRIER


def test_a_file_can_still_be_asked(moved: Path) -> None:
    examinee = Examinee("suspect", "suspect", moved, (host(0),))
    assert examinee.weights is not None
    assert examinee.can_be_asked
    assert examinee.runnable is None
    with examinee.asked(None, ()) as suspect:
        assert suspect.label == str(moved)
    weights = Examinee("suspect", "suspect", dict(nn.Linear(2, 2).state_dict()))
    assert not weights.can_be_asked
    assert weights.probed is None
