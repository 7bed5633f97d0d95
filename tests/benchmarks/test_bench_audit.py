from dataclasses import replace

import pytest

pytest.importorskip("sklearn")

from benchmarks.cards import Card
from benchmarks.cli import app
from benchmarks.experiments import _audit_plugin
from benchmarks.experiments import audit as experiment
from benchmarks.experiments._audit_card import Audits, render
from benchmarks.experiments._audit_grids import GRIDS, Group, not_tried
from benchmarks.experiments._audit_hosts import HOSTS
from benchmarks.experiments._audit_plugin import CutPlugin
from modeldeed import attacks
from modeldeed.plugin.detector import DetectorTraining
from modeldeed.training import Recipe

TINY = replace(HOSTS["quick"][0], train=128, test=96, recipe=Recipe(epochs=2))


def _run(capsys: pytest.CaptureFixture[str]) -> Card:
    with pytest.raises(SystemExit) as raised:
        app(["run", "audit", "--threads", "1", "--json", "--seeds", "0"])
    assert not raised.value.code
    return Card.model_validate_json(capsys.readouterr().out)


def test_a_tiny_run_has_all_forms_in_one_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(experiment.HOSTS, "quick", (TINY,))
    both = (Group("untrained", ("prune", "permute", "average"), 3),)
    cut = (Group("cut", (CutPlugin(),), 1),)
    grids = {"ours": both, "published": both, "plug-in": cut}
    monkeypatch.setitem(experiment.GRIDS, "quick", grids)
    short = replace(_audit_plugin._LIKE, training=DetectorTraining(steps=20), benign=200)
    monkeypatch.setattr(_audit_plugin, "_LIKE", short)
    card = _run(capsys)
    ours, published, beside = Audits.model_validate(card.metrics).audits
    assert (ours.form, published.form) == ("ours", "published")
    for one in (ours, published):
        assert [cell.attack for cell in one.cells] == ["none"] + 3 * ["prune"] + 3 * ["permute"]
        shipped = one.audit.shipped
        assert shipped is not None
        reading = shipped.reading("passport")
        assert reading is not None
        assert len(reading.wrong_keys) == 999
        assert [left.attack for left in one.plan.left_out] == ["average"]
    assert ours.audit.kinds == ("passport", "passport, aligned", "triggers")
    assert published.audit.kinds == ("passport", "passport, aligned", "published rule")
    assert beside.form == "plug-in"
    assert [cell.attack for cell in beside.cells] == ["none", "cut-plug-in"]
    assert beside.audit.kinds == ("plug-in",)
    cut_off = beside.cells[1].reading("plug-in")
    assert cut_off is not None
    assert cut_off.verdict == "not verified"
    permuted = ours.audit.of("permute")[-1].reading("passport, aligned")
    assert permuted is not None
    assert permuted.verdict != "not examined"
    table = render(card)
    header = next(line for line in table.splitlines() if line.startswith("| attack"))
    assert "passport (ours)" in header
    assert "published rule (published)" in header
    assert "triggers (ours)" in header
    assert "digits-resnet_small-batch, ours: average: needs another model" in table
    assert "leaves out: " in table
    assert "distill" in table.partition("leaves out: ")[2]
    if beside.cells[0].marks[0].verdict == "verified":
        assert "- **plug-in**: cut-plug-in (as it is: " in table


def test_the_quick_grid_is_as_large_as_it_has_to_be() -> None:
    for form in ("ours", "published"):
        names = [name for group in GRIDS["quick"][form] for name in group.names]
        assert len(names) >= 10
        assert len(set(names)) == len(names)
        assert all(len(attacks.find(name).strengths()) >= 3 for name in names)
        assert all(group.strengths == 3 for group in GRIDS["quick"][form])
    networks = [host.network for host in HOSTS["standard"]]
    assert networks == ["resnet18", "alexnet", "pointnet"]


def test_named_strengths_are_those_of_the_attacks_and_the_rest_is_said() -> None:
    tried = set()
    for groups in GRIDS["standard"].values():
        for group in groups:
            assert not isinstance(group.strengths, int)
            for name, taken in group.strengths.items():
                assert set(taken) <= set(attacks.find(name).strengths())
            tried |= set(group.names)
    assert sorted([*not_tried("standard"), *tried - {"cut-plug-in"}]) == attacks.names()
