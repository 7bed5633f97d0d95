import math

import numpy as np
import pytest
from scipy.stats import kstest

pytest.importorskip("sklearn")

from benchmarks.cards import Card
from benchmarks.cli import app
from benchmarks.experiments import _suspects, false_positives
from benchmarks.experiments._false_positives_card import (
    Control,
    FalsePositives,
    ModelCell,
    critical_distance,
    detectable_rate,
    render,
)
from modeldeed import Owner
from modeldeed.statistics import randomized_p_values
from modeldeed.training import Recipe

KEYS = 200


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(false_positives.KEYS, "quick", KEYS)
    monkeypatch.setattr(false_positives, "RECIPE", Recipe(epochs=1))


def _run(capsys: pytest.CaptureFixture[str], *hosts: str) -> Card:
    with pytest.raises(SystemExit) as raised:
        app(["run", "false-positives", "--threads", "1", "--json", "--only", ",".join(hosts)])
    assert not raised.value.code
    return Card.model_validate_json(capsys.readouterr().out)


def test_a_tiny_run_finds_the_program_honest_and_the_broken_readers_out(
    tiny: None, capsys: pytest.CaptureFixture[str]
) -> None:
    card = _run(capsys, "random-weights", "constant-rows", "controls")
    metrics = FalsePositives.model_validate(card.metrics)
    random, constant = metrics.models
    assert (metrics.trials, metrics.false_positives) == (2 * KEYS, 0)
    assert (random.side, random.readable_ks_p, random.accuracy) == ("two-sided", None, None)
    assert random.mean_matches == pytest.approx(360, abs=5)
    # Rows of one constant read zero now and then: honest p-values are too large there.
    assert constant.side == "one-sided"
    assert constant.mean_matches < 350
    assert constant.plain_ks_p < 1e-3
    assert min(constant.tests) > 0.001
    assert metrics.ks_p == pytest.approx(min(1.0, 3 * metrics.ks_p_smallest))
    honest, *broken = metrics.controls
    assert honest.correct
    assert honest.ks_p > 0.001
    assert len(broken) == 3
    for control in broken:
        assert not control.correct
        assert control.ks_p < 1e-3
    assert card.configuration["random-weights"]["keys"] == KEYS
    assert "400 wrong keys verified" in render(card)


def test_a_quick_count_that_is_not_the_whole_readings_is_noticed(
    tiny: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    true = false_positives.matches_of
    monkeypatch.setattr(false_positives, "matches_of", lambda *a, **k: true(*a, **k) - 1)
    with pytest.raises(AssertionError, match="read_signature"):
        _run(capsys, "random-weights")


def test_controls_alone_are_no_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        app(["run", "false-positives", "--only", "controls"])
    assert raised.value.code == 2
    assert "leaves no model" in capsys.readouterr().err


def test_wrong_keys_are_those_of_whole_other_owners() -> None:
    networks = _suspects.Networks(Recipe(epochs=1), 0)
    _, manifest = networks.get(_suspects.Trained(trained=False))
    first, second = false_positives.wrong_keys(manifest, 0, 2)
    (other,) = false_positives.wrong_keys(manifest, 1, 1)
    assert len({first, second, other}) == 3
    public = Owner(bytes(32))
    assert manifest.wrong_key(public) == manifest.anchor.claimed_by(
        public.identity, public.seed(manifest.label)
    ).model_key(public.seed(manifest.label))


def test_every_suspect_is_another_model() -> None:
    names = [suspect.name for suspect in _suspects.SUSPECTS]
    assert len(set(names)) == len(names) >= 10
    assert sum(suspect.change is not None for suspect in _suspects.SUSPECTS) >= 6


@pytest.mark.parametrize("keys", [200, 1_000])
def test_the_stated_power_is_there(keys: int) -> None:
    """A bit matching at the detectable rate is rejected nine times of ten, at least."""
    level = 0.001
    distance = critical_distance(keys, level)
    assert distance == pytest.approx(math.sqrt(math.log(2 / level) / 2 / keys), rel=0.03)
    rate = detectable_rate(keys, 720, distance)
    random = np.random.default_rng(3)
    rejected = 0
    for seed in range(60):
        counts = random.binomial(720, rate, keys).tolist()
        p = kstest(randomized_p_values(counts, 720, seed=seed), "uniform").pvalue
        rejected += p < level
    assert rejected >= 54


def _model(**changes: object) -> ModelCell:
    fields = {
        "model": "a", "seed": 0, "accuracy": 0.5, "bits": 720, "required": 533, "trials": 1000,
        "false_positives": 0, "most_matches": 400, "mean_matches": 360.0, "side": "two-sided",
        "ks_p": 0.5, "readable_ks_p": None, "plain_ks_p": 0.1,
    }  # fmt: skip
    return ModelCell.model_validate({**fields, **changes})


def test_a_wrong_program_is_called_so() -> None:
    honest = Control(reader="r", correct=True, trials=10, mean_rate=0.5, ks_p=0.4)
    fine = FalsePositives.of([_model(), _model()], [honest])
    assert list(false_positives._doubts(fine)) == []
    for models, controls, told in (
        ([_model(false_positives=1)], [], "1 wrong keys were verified"),
        ([_model(ks_p=0.001)], [], "not uniform"),
        ([_model(ks_p=0.004)] * 4, [], "not uniform"),  # all together, by Fisher
        ([_model()], [honest.model_copy(update={"ks_p": 1e-9})], "control 'r'"),
        ([_model()], [honest.model_copy(update={"correct": False})], "control 'r'"),
    ):
        doubts = list(false_positives._doubts(FalsePositives.of(models, controls)))
        assert any(told in doubt for doubt in doubts), (told, doubts)
    # One of many tests may be that low by chance.
    many = FalsePositives.of([_model(ks_p=0.02), *[_model()] * 9], [])
    assert list(false_positives._doubts(many)) == []
