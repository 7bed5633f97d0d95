"""``modeldeed attack``: lists, attacks, writes weights, and says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from modeldeed import attacks
from tests.cli.conftest import Claim, Run

pytest.importorskip("sklearn")


def base(claim: Claim) -> list[object]:
    return ["--model", "tiny_host:build", "--weights", claim.path("marked.safetensors"),
            "--data", "digits", "--samples", "64"]  # fmt: skip


def test_an_attack_writes_what_is_left(run: Run, claim: Claim, tmp_path: Path) -> None:
    out = tmp_path / "pruned.safetensors"
    done = run("attack", "prune", *base(claim), "--strength", "90 %", "--set", "scope=layer",
               "--out", out, "--json")  # fmt: skip
    assert (done.code, done.err) == (0, "")
    record = json.loads(done.out)
    assert record["parameters"] == {"share": 0.9, "scope": "layer"}
    assert record["steps"] == record["samples"] == 0
    assert 0 <= record["accuracy_after"] <= 1
    before, after = claim.state, load_file(out)
    assert sorted(after) == sorted(before)
    for name in ("conv1", "conv2", "conv3"):
        weight = after[f"{name}.weight"]
        assert int((weight == 0).sum()) == round(0.9 * weight.numel())
    given = load_file(claim.path("marked.safetensors"))
    assert all(torch.equal(given[name], before[name]) for name in given)


def test_the_seed_decides(run: Run, claim: Claim, tmp_path: Path) -> None:
    found = []
    for number, seed in enumerate((3, 3, 4)):
        out = tmp_path / f"{number}.safetensors"
        done = run("attack", "weight-noise", *base(claim), "--seed", seed, "--out", out)
        assert done.code == 0
        assert "attack: weight-noise" in done.out
        found.append(load_file(out)["conv2.weight"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_an_attack_that_trains_says_what_it_took(run: Run, claim: Claim, tmp_path: Path) -> None:
    done = run("attack", "fine-tune", *base(claim), "--set", "epochs=1", "--set", "batch_size=16",
               "--set", "last_layer_only=true", "--out", tmp_path / "x.safetensors",
               "--json")  # fmt: skip
    assert done.code == 0
    record = json.loads(done.out)
    assert (record["steps"], record["samples"], record["labels"]) == (4, 64, 64)
    assert record["needed"] == ["inputs", "labels", "architecture"]


def test_another_model_is_loaded_for_attacks_that_need_one(
    run: Run, claim: Claim, tmp_path: Path
) -> None:
    other = ["--other-weights", claim.path("marked.safetensors")]
    out = tmp_path / "x.safetensors"
    done = run("attack", "average", *base(claim), *other, "--out", out)
    assert done.code == 0
    torch.testing.assert_close(load_file(out)["fc.weight"], claim.state["fc.weight"])


def test_the_list_has_every_attack(run: Run) -> None:
    done = run("attack", "--list", "--json")
    assert done.code == 0
    listed = json.loads(done.out)
    assert [one["name"] for one in listed] == attacks.names()
    assert all(len(one["strengths"]) >= 3 for one in listed if one["source"])
    shown = run("attack", "--list")
    assert shown.code == 0
    assert "low-variance-resampling" in shown.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give NAME, or --list"),
        (["erase"], "no attack 'erase'"),
        (["prune", "--strength", "99 %"], "no strength '99 %'"),
        (["prune", "--set", "share"], "not of the form field=value"),
        (["prune", "--set", "rows=3"], "no field 'rows'"),
        (["prune", "--set", "share=2"], "share is in"),
        (["average"], "needs another model"),
    ],
)
def test_mistakes_are_usage(
    run: Run, claim: Claim, tmp_path: Path, arguments: list[str], told: str
) -> None:
    out = tmp_path / "x.safetensors"
    done = run("attack", *arguments, *base(claim), "--out", out)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert not out.exists()


def test_options_that_are_missing_are_named(run: Run) -> None:
    done = run("attack", "prune")
    assert done.code == 2
    assert "give --model" in done.err
