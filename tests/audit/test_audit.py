"""The grid is carried out, kept, and taken up again; nothing touches the model."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from modeldeed import Owner, TriggerSet
from modeldeed.attacks import AttackData, Prune, WeightNoise
from modeldeed.attacks.registry import Attack
from modeldeed.audit import Audit, MarkReading, audit
from modeldeed.audit.grid import grid
from modeldeed.digests import tensor_root
from modeldeed.errors import DataError, EvidenceError, OptionError
from tests.audit.conftest import Marked


def small(marked: Marked, **options: Any) -> Audit:
    choices = {"attacks": ["prune", "permute"], "strengths": 2, "wrong_keys": 20, **options}
    return audit(marked.model, marked.data, passport=marked.passport, owner=marked.owner, **choices)


def test_every_cell_says_what_was_done_what_it_cost_and_what_is_left(marked: Marked) -> None:
    before = tensor_root(marked.model.state_dict())
    state = torch.random.get_rng_state()
    told: list[tuple[int, int]] = []
    found = small(marked, progress=lambda *numbers: told.append(numbers))
    assert tensor_root(marked.model.state_dict()) == before
    assert torch.equal(torch.random.get_rng_state(), state)
    assert told == [(n, 5) for n in range(6)]
    names = [(cell.attack, cell.strength) for cell in found.cells]
    assert names == [
        ("none", "–"),
        ("prune", "30 %"),
        ("prune", "any 60 %"),
        ("permute", "a tenth"),
        ("permute", "all"),
    ]
    shipped = found.shipped
    assert shipped is not None
    reading = shipped.reading("passport")
    assert reading is not None
    assert (reading.verdict, reading.total) == ("verified", 160)
    assert reading.log10_p is not None
    assert reading.threshold_log10 is not None
    assert reading.log10_p < reading.threshold_log10
    assert len(reading.wrong_keys) == 20
    assert all(40 < matches < 120 for matches in reading.wrong_keys)
    permuted = found.of("permute")[-1]
    left = permuted.reading("passport")
    assert left is not None
    assert (left.verdict, left.wrong_keys) == ("not verified", ())
    assert permuted.accuracy_after == permuted.accuracy_before == shipped.accuracy_before
    assert permuted.parameters == {"share": 1.0}
    assert (permuted.steps, permuted.samples, permuted.device) == (0, 0, "cpu")
    assert set(permuted.versions) == {"modeldeed", "torch", "python"}


def test_without_the_exhibit_nothing_is_aligned_and_the_audit_says_why(marked: Marked) -> None:
    for cell in small(marked).cells:
        aligned = cell.reading("passport, aligned")
        assert aligned is not None
        assert (aligned.verdict, aligned.matches) == ("not examined", None)
        assert "unmarked" in aligned.reason


def test_with_the_exhibit_what_was_rewritten_is_aligned_and_read_again(marked: Marked) -> None:
    state = torch.random.get_rng_state()
    attacks = ["permute", "dummy-neurons", WeightNoise(scale=30.0)]
    found = small(marked, unmarked=marked.unmarked, attacks=attacks)
    assert torch.equal(torch.random.get_rng_state(), state)
    read = {(c.attack, c.strength): c.marks for c in found.cells}
    direct, aligned = read["none", "–"]
    assert aligned == direct.model_copy(update={"kind": aligned.kind, "wrong_keys": ()})
    for place, without in (
        (("permute", "all"), "not verified"),
        (("dummy-neurons", "split, 50%"), "unreadable"),
    ):
        direct, aligned = read[place]
        assert direct.verdict == without
        assert (aligned.verdict, aligned.total) == ("verified", 160)
        assert "aligned to the registered reference" in aligned.reason
        assert aligned.threshold_log10 == pytest.approx(-129 * math.log10(2))  # two readings
    assert [mark.verdict for mark in read["weight-noise", "scale 30.0"]] == 2 * ["not verified"]
    (_, info) = found.plan.marks
    assert info.description["rows in order"] == "160 of 160"
    assert "as though a dated deed" in info.description["remark"]


def test_another_exhibit_is_refused_and_another_order_is_not_aligned(
    marked: Marked, owner: Owner
) -> None:
    with pytest.raises(EvidenceError, match="not the weights"):
        small(marked, unmarked=marked.model.state_dict())
    turned = copy.deepcopy(marked.model)
    with torch.no_grad():
        for layer in turned.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.copy_(layer.weight.flip(0))
    found = audit(turned, marked.data, passport=marked.passport, unmarked=marked.unmarked,
                  owner=owner, attacks=[], wrong_keys=0)  # fmt: skip
    aligned = found.cells[0].reading("passport, aligned")
    assert aligned is not None
    assert aligned.verdict == "not examined"
    assert "reordered" in aligned.reason


def test_what_cannot_be_run_on_the_probes_is_unreadable(marked: Marked) -> None:
    found = small(marked, unmarked=marked.unmarked, attacks=[Narrow()])
    (_, cell) = found.cells
    assert [mark.verdict for mark in cell.marks] == ["unreadable", "unreadable"]
    assert "could not be made" in cell.marks[1].reason


@dataclass(frozen=True)
class Narrow(Attack):
    """Takes batches of the test part alone."""

    name = "narrow"

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        return OnlySmall().eval()


class OnlySmall(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) not in (2, 50):
            raise RuntimeError("no such input")
        return x.flatten(1)[:, :10]


def test_a_second_run_computes_nothing(
    marked: Marked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = small(marked, folder=tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cells/*.json")}
    assert len(times) == 5
    monkeypatch.setattr(Prune, "apply", None)
    again = small(marked, folder=tmp_path)
    assert again.cells == first.cells == Audit.load(tmp_path).cells
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("cells/*.json")} == times


def test_other_choices_are_other_cells_and_a_damaged_file_is_computed_again(
    marked: Marked, tmp_path: Path
) -> None:
    first = small(marked, folder=tmp_path, attacks=["weight-noise"])
    small(marked, folder=tmp_path, attacks=["weight-noise"], seeds=(1,))
    assert len(list(tmp_path.glob("cells/*.json"))) == 6  # two seeds, each with its own "none"
    damaged = next(tmp_path.glob("cells/weight-noise-5-percent-0-*.json"))
    damaged.write_bytes(damaged.read_bytes()[:100])
    again = small(marked, folder=tmp_path, attacks=["weight-noise"])
    key = [cell.key for cell in first.cells]
    assert [cell.key for cell in again.cells] == key
    with torch.no_grad():
        marked.model.fc.bias += 1e-3  # type: ignore[operator, union-attr]
    try:
        other = small(marked, folder=tmp_path, attacks=["weight-noise"])
    finally:
        with torch.no_grad():
            marked.model.fc.bias -= 1e-3  # type: ignore[operator, union-attr]
    assert not {cell.key for cell in other.cells} & set(key)


def test_an_audit_that_is_not_finished_says_so(marked: Marked, tmp_path: Path) -> None:
    small(marked, folder=tmp_path)
    next(tmp_path.glob("cells/permute-all-*.json")).unlink()
    found = Audit.load(tmp_path)
    assert (found.missing, len(found.cells)) == (1, 4)
    with pytest.raises(DataError, match=r"no audit\.json"):
        Audit.load(tmp_path / "cells")


@dataclass(frozen=True)
class Broken(Attack):
    name = "broken"

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        raise RuntimeError("no such layer\nmore")


def test_an_attack_that_breaks_is_reported_and_tried_again(marked: Marked, tmp_path: Path) -> None:
    found = small(marked, attacks=[Broken(), Prune(share=0.3)], folder=tmp_path)
    assert [cell.attack for cell in found.cells] == ["none", "prune"]
    (left,) = found.plan.left_out
    assert (left.attack, left.reason) == ("broken", "RuntimeError: no such layer")
    assert Audit.load(tmp_path).missing == 0
    assert json.loads((tmp_path / "audit.json").read_text())["left_out"][0]["attack"] == "broken"


def test_what_an_attack_needs_and_nobody_gave_is_left_out(marked: Marked) -> None:
    data = AttackData(marked.data)
    entries, left_out = grid(
        data, attacks=["average", "distill"], strengths=None, seeds=(0, 1), recipe=None
    )
    assert {(entry.name, entry.seed) for entry in entries} == {
        ("none", 0), ("distill", 0), ("distill", 1)}  # fmt: skip
    assert [(left.attack, left.strength) for left in left_out] == [
        ("average", None), ("distill", "soft, another architecture")]  # fmt: skip


def test_strengths_are_the_weakest_the_strongest_and_evenly_between(marked: Marked) -> None:
    def taken(strengths: Any) -> list[str]:
        entries, _ = grid(AttackData(marked.data), attacks=["prune"], strengths=strengths,
                          seeds=(0,), recipe=None)  # fmt: skip
        return [entry.strength for entry in entries[1:]]

    offered = list(Prune.strengths())
    assert taken(None) == offered
    assert taken(2) == [offered[0], offered[-1]]
    assert len(taken(3)) == 3
    assert taken(1) == [offered[len(offered) // 2]]
    assert taken({"prune": ["90 %"]}) == ["90 %"]
    assert taken({"quantize": ["4 bits"]}) == offered


@dataclass(frozen=True)
class Norms:
    """Another scheme's examiner: how many weights are zero."""

    def describe(self) -> dict[str, dict[str, Any]]:
        return {"zeros": {}}

    def examine(self, model: nn.Module, shipped: nn.Module) -> tuple[MarkReading, ...]:
        zeros = sum(int((p == 0).sum()) for p in model.parameters() if p.dim() > 1)
        verdict = "verified" if zeros == 0 else "not verified"
        return (MarkReading(kind="zeros", verdict=verdict, extra={"zeros": zeros}),)


def test_triggers_and_marks_of_others_stand_beside_the_passport(marked: Marked) -> None:
    triggers = TriggerSet.issue(marked.owner, example=marked.data.x_train[:1], classes=10)
    found = small(marked, triggers=triggers, others=[Norms()], attacks=[Prune(share=0.5)])
    assert found.kinds == ("passport", "passport, aligned", "triggers", "zeros")
    for cell in found.cells:
        asked = cell.reading("triggers")
        assert asked is not None
        assert asked.verdict in ("not verified", "inconclusive")
        assert asked.log10_e is not None
        assert asked.log10_p == min(0.0, -asked.log10_e)
    zeros = [cell.reading("zeros") for cell in found.cells]
    assert [reading.verdict for reading in zeros if reading] == ["verified", "not verified"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"owner": None}, "need owner"),
        ({"passport": None}, "give marks"),
        ({"passport": None, "unmarked": {}}, "unmarked goes with a passport"),
        ({"deed": "x.deed"}, "deed and opening go together"),
        ({"deed": "x.deed", "opening": "o.json"}, "leave out other claims"),
        ({"attacks": ["erase"]}, "no attack 'erase'"),
        ({"strengths": 0}, "at least 1"),
        ({"strengths": {"prune": ["99 %"]}}, "no strength '99 %'"),
        ({"seeds": ()}, "seeds are"),
        ({"attacks": [Prune(share=0.5), Prune(share=0.5)]}, "twice"),
        ({"processes": 0}, "processes"),
    ],
)
def test_mistakes_are_named(marked: Marked, options: dict[str, Any], told: str) -> None:
    given = {"passport": marked.passport, "owner": marked.owner, "attacks": ["prune"], **options}
    with pytest.raises(OptionError, match=told):
        audit(marked.model, marked.data, **given)


def test_a_model_of_other_classes_is_refused(marked: Marked) -> None:
    with pytest.raises(OptionError, match="not the 10 classes"):
        audit(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), marked.data,
              passport=marked.passport, owner=marked.owner)  # fmt: skip


def test_attacks_by_hand_are_named_by_their_fields(marked: Marked) -> None:
    found = small(marked, attacks=[WeightNoise(scale=0.02)])
    assert [cell.strength for cell in found.cells] == ["–", "scale 0.02"]
