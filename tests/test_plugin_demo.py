"""``modeldeed demo --plugin``: small, and what it says."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from safetensors.torch import load_file

pytest.importorskip("sklearn")

from modeldeed import Owner, Plugin, Verdict
from modeldeed.demo.plugin_result import PluginDemoResult
from modeldeed.demo.plugin_run import run_plugin_demo
from modeldeed.errors import EvidenceError
from modeldeed.plugin.detector import DetectorTraining
from modeldeed.reporting.plugin_table import plugin_demo_table


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[PluginDemoResult, Path, list[str]]:
    out, said = tmp_path_factory.mktemp("demo"), list[str]()
    training = DetectorTraining(steps=800, other_keys=8)
    result = run_plugin_demo(out, seed=1, training=training, progress=said.append)
    return result, out, said


def test_it_proves_what_it_should(ran: tuple[PluginDemoResult, Path, list[str]]) -> None:
    result, _, said = ran
    assert result.proved
    assert result.target_unchanged
    assert result.benign_outputs_identical
    verdicts = {(e.model, e.key): e.verdict for e in result.examined}
    assert verdicts["bare: a residual network", "the owner's"] is not Verdict.VERIFIED
    assert verdicts["fused: a residual network", "another owner's"] is not Verdict.VERIFIED
    assert verdicts["fused: a plain network", "the owner's"] is Verdict.VERIFIED
    assert result.success_rate > 0.7
    assert result.other_key_rate < 0.05
    assert said[-1] == "verifying"
    assert PluginDemoResult.model_validate_json(result.model_dump_json()) == result


def test_its_files_open(ran: tuple[PluginDemoResult, Path, list[str]]) -> None:
    _, out, _ = ran
    state = load_file(out / "fused.safetensors")
    assert any(name.startswith("target.") for name in state)
    with pytest.raises(EvidenceError, match="belongs to identity"):
        Plugin.load(out / "plugin", Owner.generate())


def test_its_table_fits_a_terminal(ran: tuple[PluginDemoResult, Path, list[str]]) -> None:
    result, _, _ = ran
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(plugin_demo_table(result))
    text = console.export_text()
    assert "verified" in text
    assert "not verified" in text
    assert "64 keyed backgrounds" in " ".join(text.split())
