"""The ablations: every variant is another choice, and a tiny run makes a card."""

from dataclasses import replace

import pytest

pytest.importorskip("sklearn")

from benchmarks.cards import Card
from benchmarks.cli import app
from benchmarks.experiments import ablations
from benchmarks.experiments._ablation_card import Ablations, Measured
from benchmarks.hosts import Host
from modeldeed.training import Recipe

TINY = Host(data="digits", network="resnet_small", train=128, test=96, recipe=Recipe(epochs=1))


def test_every_variant_is_another_choice() -> None:
    variants = [variant for group in ablations.GROUPS.values() for variant in group]
    names = [variant.name for variant in variants]
    assert len(names) == len(set(names))
    choices = [str(replace(variant, name="")) for variant in variants]
    assert len(choices) == len(set(choices))


def test_a_tiny_run_makes_a_card(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ablations, "host_for", lambda _setting: TINY)
    with pytest.raises(SystemExit) as raised:
        app(["run", "ablations", "--threads", "1", "--json", "--only", "layers"])
    assert not raised.value.code
    card = Card.model_validate_json(capsys.readouterr().out)
    metrics = Ablations.model_validate(card.metrics)
    bits = {cell.variant: cell.signature_bits for cell in metrics.cells}
    assert list(bits) == ["first half", "last half", "every fourth"]
    assert bits["first half"] + bits["last half"] == 720
    assert "every fourth" in ablations.render(card)
    assert set(card.configuration["variants"]) == set(bits)


def test_gaps_are_paired_by_seed() -> None:
    cells = [
        Measured(
            variant="v", seed=seed, public_accuracy=public, private_accuracy=0.5,
            private_accuracy_shared_statistics=0.4, private_accuracy_reestimated=0.5,
            decoy_accuracy_max=0.2, signature_bits=10, signature_matches=9, median_margin=5,
            seconds=1,
        )
        for seed, public in ((0, 0.7), (1, 0.9))
    ]  # fmt: skip
    (entry,) = Ablations.of(cells, {0: 0.8, 1: 1.0}).summary
    assert entry.public_minus_plain.mean == pytest.approx(-0.1)
    assert entry.shared_minus_separate.mean == pytest.approx(-0.1)
    assert entry.separation.lowest == pytest.approx(0.3)
    assert entry.match_rate.lowest == 0.9
