"""The experiment ``trigger-training``: a tiny run from end to end, and its table."""

from pathlib import Path

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("PIL")

from benchmarks import registry
from benchmarks.cards import Card, read_card
from benchmarks.cli import app
from benchmarks.experiments import trigger_training
from benchmarks.experiments._trigger_training_card import TriggerTrainings
from benchmarks.hosts import Host
from modeldeed import TriggerTraining
from modeldeed.training import Recipe

TINY = Host(data="digits", network="resnet_small", train=128, test=96, recipe=Recipe(epochs=2))
WAYS = {
    "few": TriggerTraining(per_batch=2, distort=False),
    "many, hardened": TriggerTraining(per_batch=48, distort=False, harden=0.1),
}


def test_a_tiny_run_makes_a_card_with_every_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(trigger_training.HOSTS, "quick", TINY)
    monkeypatch.setitem(trigger_training.WAYS, "quick", WAYS)
    with pytest.raises(SystemExit) as raised:
        app(["run", "trigger-training", "--threads", "1", "--json", "--seeds", "0,1"])
    assert not raised.value.code
    card = Card.model_validate_json(capsys.readouterr().out)
    assert card == read_card(tmp_path / "results" / "trigger-training-quick.json")
    cells = TriggerTrainings.model_validate(card.metrics).cells
    assert [(cell.way, cell.seed) for cell in cells] == [
        (way, seed) for seed in (0, 1) for way in WAYS
    ]
    assert cells[0].plain_accuracy == cells[1].plain_accuracy
    assert cells[0].kept[0].change == "as shipped"
    assert len({kept.change for kept in cells[0].kept}) == len(cells[0].kept) == 10
    # More of them in a batch are learned faster; pruning nearly everything leaves few.
    few, many = (cell.kept[0].rate for cell in cells[:2])
    assert many > few
    table = registry.find("trigger-training").table(card)
    assert table.count("\n| few |") == table.count("\n| many, hardened |") == 1
