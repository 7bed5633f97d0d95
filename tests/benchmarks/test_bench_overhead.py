"""The overhead experiment, on a network small enough for a test."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from benchmarks.cards import Card
from benchmarks.cli import app
from benchmarks.experiments import overhead
from benchmarks.experiments._overhead_card import Overhead
from benchmarks.memory import peak_bytes
from modeldeed import TrainingRule
from modeldeed.errors import ModelDeedError


def hold(megabytes: int) -> None:
    np.ones(megabytes * 2**20, np.uint8)


def fail() -> None:
    raise SystemExit(1)


def test_peak_memory_is_that_of_the_work_alone() -> None:
    small, large = peak_bytes(hold, 50), peak_bytes(hold, 250)
    assert large - small == pytest.approx(200 * 2**20, rel=0.05)


def test_a_process_that_fails_is_reported() -> None:
    with pytest.raises(ModelDeedError, match="ended early"):
        peak_bytes(fail)


def test_a_tiny_run_makes_a_card(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    net = overhead.Net(width=16, bfloat16=False, batch=16, repeats=2)
    monkeypatch.setitem(overhead.NETS, "quick", (net,))
    monkeypatch.setattr(
        overhead,
        "_RULES",
        {
            "plain": None,
            "default": TrainingRule(interval=4),
            "both, as published": TrainingRule(schedule="both", interval=1, early=False),
        },
    )
    monkeypatch.setattr(overhead, "_CYCLE", 4)
    with pytest.raises(SystemExit) as raised:
        app(["run", "overhead", "--threads", "1", "--json"])
    assert not raised.value.code
    card = Card.model_validate_json(capsys.readouterr().out)
    (result,) = Overhead.model_validate(card.metrics).nets
    default, both = result.variants
    assert result.training_time_ratio == default.training_time_ratio
    assert result.published_schedule_time_ratio == both.training_time_ratio
    assert both.training_time_ratio > 1.4  # every sample twice: far from noise
    assert len(default.time_ratios) == 2
    assert card.configuration[net.name]["rules"]["default"]["interval"] >= 1
    assert net.name in overhead.render(card)
