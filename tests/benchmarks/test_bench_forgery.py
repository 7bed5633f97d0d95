from dataclasses import replace

import pytest

pytest.importorskip("sklearn")

from benchmarks.cards import Card
from benchmarks.cli import app
from benchmarks.experiments import _forgery_tries, forgery
from benchmarks.experiments._forgery_card import Forgeries, render
from benchmarks.experiments._forgery_hosts import CIFAR, DIGITS, narrow_alexnet
from benchmarks.experiments._forgery_tries import KEYS, described, tries
from benchmarks.registry import find
from benchmarks.tables import render_page
from modeldeed import Verdict, attacks
from modeldeed.attacks.forgery import (
    BruteForce,
    ClaimedStatistics,
    DoctoredReference,
    ReadOff,
    expected_best,
)
from modeldeed.training import Recipe

TINY = replace(DIGITS, divisor=8, train=200, test=160, recipe=Recipe(epochs=2))
BITS = 8 + 24 + 48 + 32 + 32
TRIES = (BruteForce(keys=30), ClaimedStatistics(), DoctoredReference(), ReadOff())


def _run(capsys: pytest.CaptureFixture[str]) -> Card:
    with pytest.raises(SystemExit) as raised:
        app(["run", "forgery", "--threads", "1", "--json", "--seeds", "0"])
    assert not raised.value.code
    return Card.model_validate_json(capsys.readouterr().out)


def test_a_tiny_run_examines_every_claim_under_both_rules(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(forgery.HOSTS, "quick", TINY)
    monkeypatch.setattr(forgery, "tries", lambda *, first: TRIES)
    card = _run(capsys)
    metrics = Forgeries.model_validate(card.metrics)
    (owner,) = metrics.genuine
    assert owner.bits == BITS
    assert 0.5 < owner.bits_guessed < 0.65
    brute, claimed, doctored, read = metrics.forged
    assert [cell.forgery for cell in metrics.forged] == [attempt.name for attempt in TRIES]
    for cell in (claimed, read):
        assert cell.published_private_accuracy == cell.published_public_accuracy
        assert cell.published_match_rate == 1
        assert cell.published_accepts
    for cell in (brute, doctored):
        assert cell.published_private_accuracy is None
        assert cell.published_match_rate is None
        assert cell.published_accepts is None
    assert not any(cell.ours_accepts for cell in metrics.forged)
    assert brute.tries == 30
    assert brute.expected_matches == expected_best(BITS, 30)
    assert brute.chance is not None
    assert 0 < brute.chance <= 1
    assert claimed.claims[0].branch is not None
    assert doctored.claims[0].own_copy_verdict is Verdict.VERIFIED
    assert read.claims[1].verdict is Verdict.EVIDENCE_INVALID
    assert (read.claims[1].unbound_matches, read.claims[1].matches) == (BITS, None)
    _check_tables(card)


def _check_tables(card: Card) -> None:
    shown = render(card)
    rows = {line.split(" | ")[0].strip("| "): line for line in shown.splitlines()}
    assert "accepts 1 of 1" in rows["read-off"]
    assert "evidence invalid 1×" in rows["read-off"]
    assert rows["doctored-reference"].count("| – |") >= 1
    assert "not verified 2×" in rows["doctored-reference"]
    assert "his claim reads: verified 1×" in shown
    page = "<!-- cards:forgery:begin -->\n<!-- cards:forgery:end -->\n"
    assert shown in render_page(page, [find("forgery")], [card])


@pytest.mark.parametrize("first", [True, False])
def test_every_forgery_is_tried_and_most_keys_once(first: bool) -> None:
    made = tries(first=first)
    assert sorted(attempt.name for attempt in made) == attacks.forgery.names()
    brute = made[-1]
    assert isinstance(brute, BruteForce)
    assert brute.keys == (KEYS if first else _forgery_tries.FEWER_KEYS)
    assert KEYS == 100_000
    assert described(brute)["parameters"] == {"keys": brute.keys}


def test_the_hosts_are_the_papers_network_made_narrow() -> None:
    assert set(forgery.HOSTS) == set(find("forgery").settings) == {"quick", "standard"}
    for host, shape, bits in ((DIGITS, (1, 8, 8), 288), (CIFAR, (3, 32, 32), 576)):
        net = narrow_alexnet(10, shape, host.divisor)
        assert sum(net.get_submodule(f"norm{i}").num_features for i in range(1, 6)) == bits
