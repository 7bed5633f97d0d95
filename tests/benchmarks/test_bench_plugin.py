"""The experiments of the plug-in: tiny runs from end to end, and what they count."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("PIL")

import torch

from benchmarks import registry
from benchmarks.cards import Card, read_card
from benchmarks.cli import app
from benchmarks.experiments._plugin_distortions import PICTURES
from benchmarks.experiments._plugin_effectiveness_card import PluginEffectiveness
from benchmarks.experiments._plugin_nulls import null_suspects
from benchmarks.experiments._plugin_robustness_card import PluginRobustness
from benchmarks.plugin_hosts import PLUG_HOSTS, PlugHost, Target
from modeldeed import Verdict
from modeldeed.data import digits
from modeldeed.plugin.detector import DetectorTraining
from modeldeed.training import Recipe

TINY = PlugHost(
    data="digits",
    targets=(Target(network="perceptron", recipe=Recipe(epochs=3), train=500),),
    backgrounds=64,
    training=DetectorTraining(steps=700, batch_size=256, samples=12, other_keys=6),
    benign=600,
)


def run(capsys: pytest.CaptureFixture[str], name: str) -> Card:
    with pytest.raises(SystemExit) as raised:
        app(["run", name, "--threads", "1", "--json", "--seeds", "0"])
    assert not raised.value.code
    return Card.model_validate_json(capsys.readouterr().out)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLUG_HOSTS, "quick", (TINY,))


def test_a_fused_model_answers_its_owner_and_nobody_else(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    card = run(capsys, "plugin-effectiveness")
    assert card == read_card(tmp_path / "results" / "plugin-effectiveness-quick.json")
    (cell,) = PluginEffectiveness.model_validate(card.metrics).cells
    assert cell.success_rate > 0.7
    assert cell.benign_outputs_identical
    assert cell.accuracy == cell.fused_accuracy
    assert cell.false_activation_rate < 0.02
    assert cell.false_activation_rate < cell.false_activation_upper < 0.05
    assert cell.other_key_samples == 20 * 64
    assert cell.verdicts == (Verdict.VERIFIED,)
    assert cell.median_queries > cell.information_limit
    assert len(cell.nulls) == 1 + 10 + 2 + 20
    assert not [null.name for null in cell.nulls if null.verdict is Verdict.VERIFIED]
    assert "| perceptron |" in registry.find("plugin-effectiveness").table(card)


def test_a_changed_model_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    card = run(capsys, "plugin-robustness")
    cells = {cell.change: cell for cell in PluginRobustness.model_validate(card.metrics).cells}
    assert set(PICTURES) < set(cells)
    assert len(cells) == 1 + 3 + 9 + 3 + len(PICTURES)
    assert cells["nothing"].verdict is Verdict.VERIFIED
    assert cells["nothing"].accuracy_before == cells["nothing"].accuracy_after
    assert cells["FTAL"].steps > 0
    # On benign samples nothing reaches the detector, so training on changes little of it.
    assert cells["FTAL, 0.1× rate"].verification_rate > 0.6
    # Nine of ten weights gone leave neither the model nor the plug-in.
    assert cells["pruned, 90 %"].verification_rate < cells["nothing"].verification_rate
    assert registry.find("plugin-robustness").table(card).count("\n| FTAL") == 2


def test_patches_drive_the_target_to_one_class() -> None:
    dataset = digits().normalized()
    torch.manual_seed(0)
    target = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).eval()
    suspects = null_suspects(target, dataset, seed=0)
    assert len(suspects) == 1 + 10 + 2
    answers = suspects["patched towards 9"](dataset.x_test).argmax(1)
    assert (answers == 9).float().mean() > (target(dataset.x_test).argmax(1) == 9).float().mean()
