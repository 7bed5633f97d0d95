"""In which order triggers are shown, and with which options."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modeldeed.errors import OptionError
from modeldeed.triggers import order as module
from modeldeed.triggers.order import Order
from modeldeed.triggers.training import TriggerTraining


@given(size=st.integers(1, 20), counts=st.lists(st.integers(0, 30), max_size=12))
def test_all_are_seen_equally_often_however_they_are_taken(size: int, counts: list[int]) -> None:
    order, whole = Order(size, seed=3), Order(size, seed=3)
    taken = [number for count in counts for number in order.take(count).tolist()]
    assert taken == whole.take(sum(counts)).tolist()
    seen = Counter(taken)
    assert max((seen[n] for n in range(size)), default=0) - min(seen[n] for n in range(size)) <= 1


def test_passes_are_shuffled_anew_and_follow_seed_and_name() -> None:
    order = Order(50, seed=0, name="public")
    first, second = order.take(50), order.take(50)
    assert first.tolist() != list(range(50))
    assert first.tolist() != second.tolist()
    assert torch.equal(Order(50, seed=0, name="public").take(50), first)
    assert Order(50, seed=1, name="public").take(50).tolist() != first.tolist()
    assert Order(50, seed=0, name="private").take(50).tolist() != first.tolist()


def test_it_goes_on_where_its_position_says() -> None:
    order = Order(7, seed=0)
    order.take(5)
    resumed = Order(7, seed=0)
    resumed.position = order.position
    assert torch.equal(order.generator().get_state(), resumed.generator().get_state())
    before = order.generator().get_state()
    assert torch.equal(order.take(11), resumed.take(11))
    assert not torch.equal(order.generator().get_state(), before)


def test_processes_that_train_together_part_what_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Order(12, seed=0).take(24).tolist()
    parts = []
    for rank in range(3):
        monkeypatch.setattr(module, "_place", lambda rank=rank: (rank, 3))
        order = Order(12, seed=0)
        parts.append([order.take(4).tolist(), order.take(4).tolist()])
    assert [n for step in range(2) for part in parts for n in part[step]] == whole


def test_it_leaves_pytorchs_random_numbers_alone() -> None:
    state = torch.get_rng_state()
    order = Order(9, seed=0)
    order.take(20)
    order.generator()
    assert torch.equal(torch.get_rng_state(), state)


def test_there_is_something_to_take() -> None:
    with pytest.raises(OptionError, match="at least one"):
        Order(0, seed=0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"per_batch": 0}, {"per_batch": 2.0}, {"per_batch": True}, {"private_per_batch": -1},
        {"private_per_batch": 1.5}, {"seed": 0.5}, {"seed": True},
        {"harden_interval": 0}, {"harden_batch": 0}, {"harden": -0.1}, {"harden": 1.0},
        {"harden": float("nan")},
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        TriggerTraining(**wrong)


def test_the_steps_that_harden() -> None:
    rule = TriggerTraining(harden=0.1, harden_interval=3)
    assert [step for step in range(8) if rule.hardens(step)] == [0, 3, 6]
    assert not TriggerTraining(harden=0).hardens(0)
