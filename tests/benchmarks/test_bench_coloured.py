"""The experiment ``coloured``: a tiny run from end to end, and its strongest attack."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("sklearn")

import torch

from benchmarks import registry
from benchmarks.cards import Card, read_card
from benchmarks.cli import app
from benchmarks.experiments import coloured
from benchmarks.experiments._coloured_card import Coloured
from benchmarks.hosts import Host
from modeldeed.attacks import decorrelated
from modeldeed.training import Recipe

TINY = Host(data="digits", network="resnet_small", train=128, test=96, recipe=Recipe(epochs=3))


def test_a_tiny_run_makes_a_card_with_all_readings_and_attacks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(coloured.HOSTS, "quick", TINY)
    attacks = coloured.Attacks(passes=2, epochs=1, away_epochs=1, samples=20)
    monkeypatch.setitem(coloured._ATTACKS, "quick", attacks)
    ways = (coloured.Way(reading="weights"), coloured.Way(reading="coloured", late=1 / 3))
    monkeypatch.setitem(coloured._WAYS, "quick", ways)
    with pytest.raises(SystemExit) as raised:
        app(["run", "coloured", "--threads", "1", "--json", "--seeds", "0"])
    assert not raised.value.code
    card = Card.model_validate_json(capsys.readouterr().out)
    assert card == read_card(tmp_path / "results" / "coloured-quick.json")
    weights, late = Coloured.model_validate(card.metrics).cells
    assert (weights.reading, late.reading) == ("weights", "coloured, late")
    assert weights.plain_accuracy == late.plain_accuracy
    assert weights.factor_bytes == 0 < late.factor_bytes
    for cell in (weights, late):
        assert cell.bits == 720
        assert [left.epochs for left in cell.attacks] == [0, 2, 1, 1]
        assert all(0 < left.matches <= 720 for left in cell.attacks)
    table = registry.find("coloured").table(card)
    assert table.count("| digits-resnet_small-batch |") == 2 + 2 * 4


def test_rows_are_turned_away_and_the_model_given_is_not_touched() -> None:
    dataset = TINY.load(None, torch.device("cpu"))
    model = TINY.build(dataset, 0)
    before = copy.deepcopy(model.state_dict())
    recipe = replace(TINY.recipe, epochs=8, batch_size=16)
    cosines = []
    for penalty in (0.0, 100.0):
        changed = decorrelated(model, dataset, recipe, penalty=penalty)
        pairs = zip(changed.parameters(), model.parameters(), strict=True)
        rows = [
            torch.cosine_similarity(a.flatten(1), b.flatten(1)) for a, b in pairs if a.dim() > 1
        ]
        cosines.append(float(torch.cat(rows).detach().abs().median()))
    assert cosines[1] < cosines[0] - 0.2
    assert all(torch.equal(model.state_dict()[name], t) for name, t in before.items())
