"""The experiments of the black-box mark: tiny runs from end to end, and what they count."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("PIL")

import torch
from scipy.stats import binom

from benchmarks import registry
from benchmarks.cards import Card, read_card
from benchmarks.cli import app
from benchmarks.experiments import blackbox_null, blackbox_queries, blackbox_robustness
from benchmarks.experiments._blackbox_null_card import BlackboxNull, chi_square_p, ks_p
from benchmarks.experiments._blackbox_queries_card import BlackboxQueries
from benchmarks.experiments._blackbox_robustness_card import BlackboxRobustness
from benchmarks.experiments._trigger_pairs import Mark
from benchmarks.experiments._trigger_sweep import MARKS, tries
from benchmarks.hosts import Host
from modeldeed import Verdict
from modeldeed.training import Recipe
from modeldeed.triggers.training import TriggerTraining

# Many triggers in few steps: enough for the tiny network to learn most of them.
TINY = Host(data="digits", network="resnet_small", train=256, test=96, recipe=Recipe(epochs=15))
MARK = Mark(host=TINY, training=TriggerTraining(per_batch=64, distort=False))


def run(capsys: pytest.CaptureFixture[str], name: str, *options: str) -> Card:
    with pytest.raises(SystemExit) as raised:
        app(["run", name, "--threads", "1", "--json", *options])
    assert not raised.value.code
    return Card.model_validate_json(capsys.readouterr().out)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MARKS, "quick", (MARK,))


@pytest.mark.usefixtures("tiny")
def test_a_fresh_model_is_verified_and_its_twin_is_not(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    card = run(capsys, "blackbox-queries", "--seeds", "0")
    assert card == read_card(tmp_path / "results" / "blackbox-queries-quick.json")
    metrics = BlackboxQueries.model_validate(card.metrics)
    (cell,) = metrics.cells
    assert cell.match_rate > 0.9
    assert cell.plain_match_rate < 0.3
    assert metrics.verdicts == {"verified": 2}
    assert metrics.plain_verdicts == {"not verified": 2}
    assert all(asked.queries >= 27 for asked in cell.marked)
    assert metrics.median_queries is not None
    assert metrics.information_limit == pytest.approx(84 / math.log2(10))
    assert "digits-resnet_small-batch" in registry.find("blackbox-queries").table(card)


@pytest.mark.usefixtures("tiny")
def test_trained_weights_are_kept_for_the_next_experiment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = run(capsys, "blackbox-queries", "--seeds", "0")
    kept = list((tmp_path / "results").rglob("*.safetensors"))
    assert {file.name for file in kept} == {"plain.safetensors", "marked.safetensors"}

    def not_again(*_: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("benchmarks.experiments._trigger_pairs._train", not_again)
    again = run(capsys, "blackbox-queries", "--seeds", "0", "--fresh")
    assert again.metrics == first.metrics
    longer = replace(MARK, host=replace(TINY, recipe=Recipe(epochs=11)))
    monkeypatch.setitem(MARKS, "quick", (longer,))
    with pytest.raises(AssertionError, match="trained again"):
        app(["run", "blackbox-queries", "--threads", "1", "--seeds", "0"])


@pytest.mark.usefixtures("tiny")
def test_a_tiny_run_changes_the_model_in_every_way(
    capsys: pytest.CaptureFixture[str],
) -> None:
    card = run(capsys, "blackbox-robustness", "--seeds", "0")
    cells = {c.change: c for c in BlackboxRobustness.model_validate(card.metrics).cells}
    assert list(cells) == [attempt.name for attempt in tries(MARK, "quick")]
    nothing = cells["nothing"]
    assert nothing.verdict is Verdict.VERIFIED
    assert nothing.log10_p_paid <= -20 * math.log10(2)
    assert cells["fp16 weights"].match_rate == pytest.approx(nothing.match_rate, abs=0.05)
    assert cells["pruned, 90%"].match_rate < nothing.match_rate
    assert cells["distilled"].verdict is not Verdict.VERIFIED
    assert cells["FTAL"].steps > 0 == cells["JPEG 75"].steps
    assert len({c.accuracy_before for c in cells.values()}) == 1
    assert cells["shifted"].match_rate < nothing.match_rate
    table = registry.find("blackbox-robustness").table(card)
    assert table.count("\n| ") == len(cells) + 1


def test_last_layers_alone_are_tuned_where_the_names_say_so() -> None:
    found = {attempt.name: attempt.attack for attempt in tries(MARKS["quick"][0], "quick")}
    flags = {
        name: (getattr(attack, "last_layer_only", None), getattr(attack, "new_classifier", None))
        for name, attack in found.items()
    }
    assert [flags[name] for name in ("FTLL", "RTLL", "FTAL", "RTAL")] == [
        (True, False), (True, True), (False, False), (False, True),
    ]  # fmt: skip


@pytest.mark.parametrize("setting", ["quick", "standard"])
def test_no_change_stands_twice(setting: str) -> None:
    for mark in MARKS[setting]:
        names = [attempt.name for attempt in tries(mark, setting)]
        files = {blackbox_robustness._as_file(name) for name in names}
        assert len(files) == len(names)


def test_a_tiny_null_run_counts_pairs_and_sees_broken_rules(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    choices = blackbox_null.Choices(
        mark=MARK, epochs=2, models=2, keys=3, surrogates=1, others=3, ground=40, kept=2,
        families=("smooth/v1",),
    )  # fmt: skip
    monkeypatch.setitem(blackbox_null.CHOICES, "quick", choices)
    card = run(capsys, "blackbox-null", "--seeds", "0")
    metrics = BlackboxNull.model_validate(card.metrics)
    assert (metrics.trials, len(metrics.models), len(metrics.cost)) == (6, 2, 1)
    assert metrics.false_positives == 0
    assert metrics.rate_high == pytest.approx(1 - 0.025 ** (1 / 6))
    right, broken, chosen = metrics.controls
    assert (right.correct, broken.correct, chosen.correct) == (True, False, False)
    assert right.trials == broken.trials == 40
    assert chosen.trials == 1 * 2 * 2
    assert broken.ks_p < 1e-3
    assert broken.false_positives > right.false_positives
    assert chosen.surrogate_rate is not None
    assert chosen.surrogate_rate > sum(right.matches) / (40 * right.queries)
    table = registry.find("blackbox-null").table(card)
    assert "labels that another model predicts" in table


def test_all_keys_are_different() -> None:
    nulls = blackbox_null.Nulls(blackbox_null.CHOICES["quick"], run=None)  # type: ignore[arg-type]
    nulls._dataset = TINY.load(None, torch.device("cpu"))
    sets = [nulls.claim(text)[1] for text in ("null model 0, key 0", "null model 0, key 1")]
    assert not torch.equal(sets[0].labels, sets[1].labels)
    again = nulls.claim("null model 0, key 0")[1]
    assert torch.equal(again.inputs, sets[0].inputs)


def test_a_false_positive_is_one_at_any_time() -> None:
    early = np.array([True] * 5 + [False] * 59)
    assert blackbox_null.largest_log_e(early, 10) >= math.log(1000)
    assert blackbox_null.largest_log_e(~early[:5], 10) < 0


def test_counts_that_are_binomial_pass_and_others_do_not() -> None:
    generator = np.random.default_rng(0)
    honest = generator.binomial(64, 0.1, 1000).tolist()
    worse = generator.binomial(64, 0.12, 1000).tolist()
    for test in (chi_square_p, ks_p):
        assert test(honest, 64, 10) > 0.01
        assert test(worse, 64, 10) < 1e-4
    assert chi_square_p([6, 7], 64, 10) == 1
    # Against another way to count: the share of a cell times the number of counts.
    counts = [round(1000 * binom.pmf(k, 64, 0.1)) for k in range(65)]
    exact = [k for k, count in enumerate(counts) for _ in range(count)]
    assert chi_square_p(exact, 64, 10) > 0.99


def test_unhardened_marks_are_queried() -> None:
    assert len(blackbox_queries.unhardened("quick")) == 1
    assert len(MARKS["quick"]) == 2
