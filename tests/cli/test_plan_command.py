"""``modeldeed plan``: which norms would carry a passport, as text and as JSON."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Claim, Run

SHAPE = ("--input-shape", "2,1,8,8")


def test_the_table_is_the_result(run: Run) -> None:
    done = run("plan", "tiny_host:build", *SHAPE)
    assert (done.code, done.err) == (0, "")
    assert "3 norms carry 160 signature bits" in done.out
    lines = done.out.splitlines()
    for norm, weight, numbers in (
        ("norm1", "conv1.weight", ("32", "9", "9", "32")),
        ("norm2", "conv2.weight", ("64", "288", "64", "64")),
        ("norm3", "conv3.weight", ("64", "576", "64", "64")),
    ):
        (line,) = [line for line in lines if norm in line]
        assert weight in line
        assert "rows" in line
        assert tuple(word for word in line.split() if word.isdigit()) == numbers


def test_json_holds_the_canonical_list(run: Run) -> None:
    done = run("plan", "tiny_host:build", *SHAPE, "--json")
    assert (done.code, done.err) == (0, "")
    plan = json.loads(done.out)
    assert plan["bits"] == 160
    assert plan["left_out"] == []
    assert [entry["norm"] for entry in plan["planned"]] == ["norm1", "norm2", "norm3"]
    assert plan["planned"][1] == {
        "norm": "norm2",
        "kind": "batch",
        "channels": 64,
        "affine": "norm2.weight",
        "weight": "conv2.weight",
        "shape": [64, 32, 3, 3],
        "axis": 0,
        "side": "rows",
        "left_out": [],
        "fan": 288,
        "bits": 64,
        "rank": 64,
        "ties": [],
        "calls": 1,
        "frozen": False,
    }


def test_an_example_by_function_plans_alike(run: Run) -> None:
    by_shape = run("plan", "tiny_host:build", *SHAPE, "--json")
    by_function = run("plan", "tiny_host:build", "--example", "tiny_host:example", "--json")
    assert by_function.code == 0, by_function.err
    assert json.loads(by_function.out) == json.loads(by_shape.out)


def test_excluding_is_told_and_committed_to(run: Run) -> None:
    done = run("plan", "tiny_host:build", *SHAPE, "--exclude", "norm1", "--exclude", "*3")
    assert done.code == 0
    assert "64 signature bits" in done.out
    assert "norm1 (batch): excluded" in done.out
    assert "committed to in the anchor" in done.err
    only = run("plan", "tiny_host:build", *SHAPE, "--targets", "norm2", "--json")
    assert [entry["norm"] for entry in json.loads(only.out)["planned"]] == ["norm2"]


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_host_without_norms_is_pointed_to_other_marks(run: Run, more: list[str]) -> None:
    done = run("plan", "tiny_host:without_norms", *SHAPE, *more)
    assert done.code == 2
    assert "no normalization layer that can carry a passport" in done.err
    assert "trigger set and a plug-in" in done.err
    if not more:
        assert done.out == ""  # no empty table before a refusal
    else:
        assert json.loads(done.out) == {"bits": 0, "planned": [], "left_out": []}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tiny_host:build"], "give one of --input-shape and --example"),
        (["tiny_host:build", *SHAPE, "--example", "tiny_host:example"], "give one of"),
        (["tiny_host:build", "--input-shape", "2,x"], "'2,x' is not a list of sizes"),
        (["tiny_host:build", "--input-shape", "2,-1"], "'2,-1' is not a list of sizes"),
        (["tiny_host:build", *SHAPE, "--targets", "bn*"], "'bn*' fits none of the host's 3 norms"),
        (["tiny_host:no_module", *SHAPE], "returned a int, not a torch module"),
        (["tiny_host", *SHAPE], "not of the form module:function"),
        (["nowhere:build", *SHAPE], "nowhere:build cannot be imported"),
    ],
)
def test_wrong_usage_is_told(run: Run, claim: Claim, arguments: list[str], words: str) -> None:
    done = run("plan", *arguments)
    assert (done.code, done.out) == (2, "")
    assert words in " ".join(done.err.split())
