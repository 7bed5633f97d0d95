"""``modeldeed inspect``: says what was done to a file, and ends with 0 whatever that was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from modeldeed.inspecting import Inspection
from tests.cli.conftest import Claim, Run


@pytest.fixture
def pruned(claim: Claim, tmp_path: Path) -> Path:
    """The marked model without small weights in one layer."""
    state = dict(claim.state)
    weight = state["conv2.weight"]
    state["conv2.weight"] = torch.where(weight.abs() > weight.abs().median(), weight, 0.0)
    save_file(state, tmp_path / "pruned.safetensors")
    return tmp_path / "pruned.safetensors"


def test_it_says_what_was_done(run: Run, claim: Claim, pruned: Path) -> None:
    done = run("inspect", pruned, "--reference", claim.path("marked.safetensors"))
    assert (done.code, done.err) == (0, "")
    assert "Other tensors than the reference's" in done.out
    assert "pruned in conv2.weight (50% zeros" in done.out
    assert "Forensics, not evidence" in done.out


def test_json_is_the_published_result(run: Run, claim: Claim, pruned: Path) -> None:
    done = run("inspect", pruned, "--reference", claim.path("marked.safetensors"),
               "--null", claim.path("unmarked.safetensors"), "--json")  # fmt: skip
    assert done.code == 0
    found = Inspection.model_validate_json(done.out)
    assert json.loads(done.out)["schema_version"] == "modeldeed-inspection/v1"
    assert found.layer("conv2.weight").kinds == ("pruned",)
    assert found.null_models == 1
    words = {layer.word for layer in found.layers}
    assert words == {"identical", "changed"}


def test_a_deed_alone_answers_for_the_file(
    run: Run, claim: Claim, pruned: Path, tmp_path: Path
) -> None:
    made = run("deed", "create", claim.path("marked.safetensors"), "--out", tmp_path / "x.deed",
               "--key", claim.path("owner.key"), "--passphrase-file", claim.path("passphrase.txt"),
               "--passport", claim.path("passport"))  # fmt: skip
    assert made.code == 0, made.err
    deed = ["--deed", tmp_path / "x.deed"]
    same = run("inspect", claim.path("marked.safetensors"), *deed)
    assert same.code == 0
    assert "The same files as the deed" in same.out
    other = run("inspect", pruned, *deed, "--reference", claim.path("marked.safetensors"))
    assert other.code == 0
    assert "Other tensors than the deed's" in other.out
    wrong = run("inspect", pruned, *deed, "--reference", claim.path("few.safetensors"))
    assert (wrong.code, wrong.out) == (4, "")
    assert "not the model that the deed names" in wrong.err


def test_what_is_missing_is_usage_and_what_is_unreadable_is_the_suspects(
    run: Run, claim: Claim, tmp_path: Path
) -> None:
    marked = claim.path("marked.safetensors")
    assert run("inspect", marked).code == 2
    assert "--null goes with --reference" in run("inspect", marked, "--null", marked, "--deed",
                                                 tmp_path).err  # fmt: skip
    (tmp_path / "x.safetensors").write_bytes(b"\x80\x02}")
    done = run("inspect", tmp_path / "x.safetensors", "--reference", marked)
    assert (done.code, done.out) == (5, "")
    assert "pickle" in done.err
