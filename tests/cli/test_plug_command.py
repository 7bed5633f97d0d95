"""``modeldeed plug`` and ``modeldeed query --plugin``, from the key to the verdict."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from modeldeed import Report
from tests.cli.conftest import Claim, Run

pytest.importorskip("sklearn")

NETWORK = """
from torch import nn

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
"""


@pytest.fixture(scope="module")
def key(claim: Claim) -> list[str]:
    return ["--key", str(claim.path("owner.key")), "--passphrase-file",
            str(claim.path("passphrase.txt"))]  # fmt: skip


@pytest.fixture(scope="module")
def folder(run: Run, key: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plug-in that was issued, trained and fused by the command line."""
    pytest.importorskip("onnxscript")
    made = tmp_path_factory.mktemp("plug")
    (made / "own_network.py").write_text(NETWORK)
    scope: dict[str, Any] = {}
    exec(NETWORK, scope)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network: nn.Module = scope["build"]()
    save_file(network.state_dict(), made / "target.safetensors")
    shape = ["--input-shape", "1,1,8,8", "--backgrounds", "64"]
    done = run("plug", "issue", "mine", *key, *shape, "--json", folder=made)
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"plugin": "mine", "backgrounds": 64, "kind": "multi"}
    done = run(
        "plug", "train", "mine", *key, "--benign", "digits", "--steps", 800, "--json", folder=made
    )
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["success"] > 0.6
    assert report["other_keys"] < 0.02
    done = run(
        "plug", "fuse", "mine", *key, "--model", "own_network:build", "--weights",
        "target.safetensors", "--classes", 10, "--out", "fused.safetensors", "--onnx", "fused.onnx",
        "--json", folder=made,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert json.loads(done.out)["parameters_added"] < 100_000
    return made


def asked(run: Run, key: list[str], folder: Path, *more: object) -> tuple[int, Report]:
    done = run(
        "query", "--plugin", "mine", "--carriers", "digits", *key, "--json", *more, folder=folder
    )
    assert done.out, done.err
    return done.code, Report.model_validate_json(done.out)


def test_a_fused_model_is_verified_by_its_answers(run: Run, key: list[str], folder: Path) -> None:
    code, report = asked(run, key, folder, "--suspect", "fused.onnx")
    assert (code, report.verdict.value) == (0, "verified")
    # Again, from what stands in the transcript.
    (transcript,) = (folder / "transcripts").glob("*.jsonl")
    code, again = asked(run, key, folder, "--transcript", transcript)
    assert (code, again.answers) == (0, report.answers)


def test_a_judge_needs_the_deed_and_an_opening_alone(
    run: Run, key: list[str], folder: Path
) -> None:
    nonce = "5e" * 32
    done = run("resolve", "--suspect", "fused.onnx", "--json", folder=folder)
    suspect = json.loads(done.out)["suspect_digest"]
    steps = [
        ["deed", "create", "fused.safetensors", "--out", "fused.deed", "--plugin", "mine"],
        ["deed", "open", "fused.deed", "--plugin", "mine", "--suspect-digest", suspect,
         "--nonce", nonce, "--out", "opening.json"],
    ]  # fmt: skip
    for step in steps:
        done = run(*step, *key, folder=folder)
        assert done.code == 0, done.err
    judged = ["verify", "fused.onnx", "--deed", "fused.deed", "--opening", "opening.json",
              "--nonce", nonce, "--json"]  # fmt: skip
    done = run(*judged, "--carriers", "digits", folder=folder)
    report = Report.model_validate_json(done.out)
    assert (done.code, report.verdict.value) == (0, "verified")
    assert report.deed is not None
    done = run(*judged, folder=folder)
    assert done.code == 2, done.err


def test_another_key_is_not_verified(run: Run, claim: Claim, folder: Path, tmp_path: Path) -> None:
    stranger = ["--key", str(claim.path("stranger.key")), "--passphrase-file",
                str(claim.path("passphrase.txt"))]  # fmt: skip
    more = ("--suspect", "fused.onnx", "--transcripts", tmp_path)
    code, report = asked(run, stranger, folder, *more)
    assert (code, report.verdict.value) == (1, "not verified")


def test_the_target_is_part_of_the_fused_weights_as_it_was(folder: Path) -> None:
    target, fused = (load_file(folder / f"{name}.safetensors") for name in ("target", "fused"))
    for name, tensor in target.items():
        assert torch.equal(fused[f"target.{name}"], tensor)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["query", "--suspect", "fused.onnx", "--plugin", "mine"], "--plugin and --carriers"),
        (["query", "--suspect", "fused.onnx"], "give one claim"),
        (["plug", "issue", "mine", "--input-shape", "1,1,8,8"], "holds a plug-in already"),
        (["plug", "issue", "new", "--input-shape", "1,x"], "is not a list of sizes"),
        (["plug", "issue", "new", "--input-shape", "1,1,8,8", "--kind", "few"], "--kind is multi"),
        (["plug", "train", "nowhere"], "no folder of a plug-in"),
    ],
)
def test_wrong_usage_is_told(
    run: Run, key: list[str], folder: Path, arguments: list[str], words: str
) -> None:
    done = run(*arguments, *key, folder=folder)
    assert done.code == 2
    assert words in " ".join(done.err.split())


def test_an_altered_record_is_invalid_evidence(
    run: Run, key: list[str], folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder / "mine", tmp_path / "mine")
    path = tmp_path / "mine" / "plugin.json"
    path.write_text(path.read_text().replace('"count": 64', '"count": 63'))
    done = run("plug", "train", "mine", *key, folder=tmp_path)
    assert done.code == 4
    assert "evidence invalid" in done.err
