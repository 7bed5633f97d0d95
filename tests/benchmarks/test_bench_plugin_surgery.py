"""The surgery experiment, on a detector that has hardly learned anything."""

from dataclasses import replace

import pytest

pytest.importorskip("sklearn")

from benchmarks.cards import Card
from benchmarks.cli import app
from benchmarks.experiments import _surgery, plugin_surgery
from benchmarks.experiments._plugin_surgery_card import PluginSurgery
from modeldeed.plugin.detector import DetectorTraining
from modeldeed.plugin.weaving import Weave
from modeldeed.training import Recipe

FEW = ("graph search", "zero blocks", "rows with zeros", "smallest weights, 50 %")


@pytest.mark.slow
def test_a_tiny_run_makes_a_card(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (full,) = plugin_surgery.HOSTS["quick"]
    tiny = replace(
        full,
        host=replace(full.host, train=200, test=40, recipe=Recipe(epochs=2)),
        training=DetectorTraining(steps=2, batch_size=16, samples=2, other_keys=4),
        backgrounds=8,
        benign=40,
    )
    every = _surgery.attacks
    monkeypatch.setitem(plugin_surgery.HOSTS, "quick", (tiny,))
    monkeypatch.setattr(
        plugin_surgery,
        "attacks",
        lambda classes, plain: [a for a in every(classes, plain=plain) if a.name in FEW],
    )
    monkeypatch.setattr(plugin_surgery, "_REPEATS", 1)
    monkeypatch.setattr(
        plugin_surgery, "_WOVEN", {"woven": ("mixture", Weave()), "in": ("absorbed", Weave())}
    )
    with pytest.raises(SystemExit) as raised:
        app(["run", "plugin-surgery", "--only", tiny.name, "--threads", "1", "--json"])
    assert not raised.value.code
    card = Card.model_validate_json(capsys.readouterr().out)
    plain, woven, absorbed = PluginSurgery.model_validate(card.metrics).forms
    assert plain.largest_difference is None
    assert plain.largest_benign_difference == 0
    assert [attempt.attack for attempt in plain.attempts] == [FEW[0], FEW[3]]
    assert [attempt.attack for attempt in woven.attempts] == list(FEW)
    assert woven.largest_difference is not None
    assert woven.largest_difference < 1e-4
    assert woven.same_answers > 0.99
    assert absorbed.parameters_ratio > 1 < woven.parameters_ratio
    assert tiny.name in plugin_surgery.render(card)
    assert card.configuration[tiny.name]["backgrounds"] == 8


def test_every_attempt_has_a_name_of_its_own() -> None:
    names = [attack.name for attack in _surgery.attacks(10, plain=False)]
    assert len(set(names)) == len(names) > len(_surgery.attacks(10, plain=True))
