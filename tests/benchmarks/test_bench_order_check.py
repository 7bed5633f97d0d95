"""The experiment ``order-check``: a tiny run from end to end."""

from pathlib import Path

import pytest

pytest.importorskip("sklearn")

from benchmarks import registry
from benchmarks.cards import Card, read_card
from benchmarks.cli import app
from benchmarks.experiments import order_check
from benchmarks.experiments._order_check_card import Orders
from benchmarks.hosts import Host
from modeldeed.training import Recipe

TINY = Host(data="digits", network="resnet_small", train=128, test=96, recipe=Recipe(epochs=3))


def test_a_tiny_run_makes_a_card_with_all_ways_and_forgeries(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(order_check.HOSTS, "quick", (TINY,))
    monkeypatch.setattr(order_check, "STRENGTHS", (0.0, 1.0))
    late = order_check.Way(name="late", times=2, late=0.5)
    ways = (order_check.SCRATCH, late, order_check.RETROFIT)
    monkeypatch.setitem(order_check.WAYS, "quick", ways)
    with pytest.raises(SystemExit) as raised:
        app(["run", "order-check", "--threads", "1", "--json", "--seeds", "0",
             "--only", TINY.name])  # fmt: skip
    assert not raised.value.code
    card = Card.model_validate_json(capsys.readouterr().out)
    assert card == read_card(tmp_path / "results" / "order-check-quick.json")
    scratch, late_cell, retrofit = Orders.model_validate(card.metrics).cells
    assert [point.epoch for point in scratch.points] == [1, 2, 3]
    assert [point.epoch for point in late_cell.points] == [1, 2, 3]
    assert (scratch.late, late_cell.late, retrofit.late) == (0, 3, 3)
    for cell in (scratch, late_cell, retrofit):
        assert cell.bits == 720
        assert cell.points[-1].matched > 600
        assert cell.permuted < 72
        assert not cell.permuted_valid
    assert retrofit.points[-1].matched == 720
    weak, strong = retrofit.mixed
    assert weak.matched < 72
    assert strong.matched > 648
    assert (scratch.mixed, late_cell.mixed) == ((), ())
    table = registry.find("order-check").table(card)
    assert table.count(f"| {TINY.name} |") == 3 + 2
