"""Capacity: more marked layers and wider ones carry more bits, and a tiny run makes a card."""

from __future__ import annotations

import pytest

pytest.importorskip("sklearn")

from benchmarks.cards import Card
from benchmarks.cli import app
from benchmarks.experiments import capacity
from benchmarks.experiments._capacity_card import Capacities, render
from benchmarks.hosts import Host
from benchmarks.plots import figure_of
from benchmarks.registry import find
from modeldeed.training import Recipe

TINY = Host(data="digits", network="resnet_small", train=128, test=96, recipe=Recipe(epochs=1))


def test_every_choice_is_another_one() -> None:
    choices = [choice for group in capacity.GROUPS.values() for choice in group]
    names = [choice.name for choice in choices]
    assert len(set(names)) == len(names)
    ways = [(c.factor, c.variant.layers, c.variant.rule.margin) for c in choices]
    assert len(set(ways)) == len(ways)


@pytest.mark.slow
def test_a_tiny_run_makes_a_card(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(capacity, "host_for", lambda _setting: TINY)
    with pytest.raises(SystemExit) as raised:
        app(["run", "capacity", "--threads", "1", "--json", "--seeds", "0"])
    assert not raised.value.code
    card = Card.model_validate_json(capsys.readouterr().out)
    metrics = Capacities.model_validate(card.metrics)
    bits = {cell.variant: cell.bits for cell in metrics.cells}
    assert bits["every layer"] == bits["every layer, margin 3"] == 45 * 16
    assert bits["every layer, half as wide"] < 45 * 16 < bits["every layer, twice as wide"]
    assert (bits["every eighth layer"] < bits["every fourth layer"]
            < bits["every second layer"] < 45 * 16)  # fmt: skip
    widths = {cell.variant: cell.width for cell in metrics.cells}
    assert (widths["every layer, half as wide"], widths["every layer"]) == (8, 16)
    plain = {cell.plain_accuracy for cell in metrics.cells if cell.width == 16}
    assert len(plain) == 1
    shown = render(card)
    assert shown.count("| every ") == 8
    assert "720" in shown
    assert figure_of(find("capacity"), card).count("<svg") == 1
