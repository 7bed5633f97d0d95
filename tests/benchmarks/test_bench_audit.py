from dataclasses import replace

import pytest

pytest.importorskip("sklearn")

from benchmarks.cards import Card
from benchmarks.cli import app
from benchmarks.experiments import audit as experiment
from benchmarks.experiments._audit_card import Audits, render
from benchmarks.experiments._audit_hosts import ATTACKS, HOSTS
from modeldeed import attacks
from modeldeed.training import Recipe

TINY = replace(HOSTS["quick"][0], train=128, test=96, recipe=Recipe(epochs=2))


def _run(capsys: pytest.CaptureFixture[str]) -> Card:
    with pytest.raises(SystemExit) as raised:
        app(["run", "audit", "--threads", "1", "--json", "--seeds", "0"])
    assert not raised.value.code
    return Card.model_validate_json(capsys.readouterr().out)


def test_a_tiny_run_has_both_forms_in_one_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(experiment.HOSTS, "quick", (TINY,))
    monkeypatch.setitem(experiment.ATTACKS, "quick", ("prune", "permute", "average"))
    card = _run(capsys)
    ours, published = Audits.model_validate(card.metrics).audits
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
    table = render(card)
    header = next(line for line in table.splitlines() if line.startswith("| attack"))
    assert "passport (ours)" in header
    assert "published rule (published)" in header
    assert "triggers (ours)" in header
    assert "Left out, in part or wholly: average" in table


def test_the_quick_grid_is_as_large_as_it_has_to_be() -> None:
    chosen = ATTACKS["quick"]
    assert chosen is not None
    assert len(chosen) >= 10
    assert len(set(chosen)) == len(chosen)
    assert all(len(attacks.find(name).strengths()) >= 3 for name in chosen)
    assert ATTACKS["standard"] is None
    networks = [host.network for host in HOSTS["standard"]]
    assert networks == ["resnet18", "alexnet", "pointnet"]
