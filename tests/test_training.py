"""The training loop: what it trains, in which order, and what it measures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from modeldeed import Owner, Passport
from modeldeed.data import Dataset
from modeldeed.errors import OptionError
from modeldeed.training import Epoch, Recipe, accuracy, side_by_side, train


def toy() -> Dataset:
    """Two classes that a straight line parts."""
    x = torch.rand(64, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0, 0, 0] > 0.5).long()
    return Dataset(name="toy", x_train=x, y_train=y, x_test=x, y_test=y, classes=("low", "high"))


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)
        )


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 0.1), ("adam", 0.01)])
@pytest.mark.parametrize("bfloat16", [False, True])
def test_it_learns(optimizer: str, rate: float, bfloat16: bool) -> None:
    host, dataset = network(), toy()
    recipe = Recipe(
        epochs=30, batch_size=16, optimizer=optimizer, learning_rate=rate, bfloat16=bfloat16
    )
    epochs = list(train(host, dataset, recipe))
    assert [epoch.number for epoch in epochs] == list(range(1, 31))
    assert epochs[-1].loss < epochs[0].loss
    assert all(epoch.seconds > 0 for epoch in epochs)
    host.eval()
    assert accuracy(host, dataset.x_test, dataset.y_test) > 0.9


def test_runs_repeat_and_follow_their_seed() -> None:
    def losses(seed: int) -> list[float]:
        return [e.loss for e in train(network(), toy(), Recipe(epochs=3, batch_size=16, seed=seed))]

    assert losses(0) == losses(0) != losses(1)


def test_a_passport_is_trained_along_and_the_host_alone_is_changed_otherwise() -> None:
    host, dataset = network(), toy()
    passport = Passport.issue(host, Owner(bytes(32)), example=dataset.x_train[:2], head="learned")
    before = [parameter.clone() for parameter in passport.parameters()]
    list(train(host, dataset, Recipe(epochs=2, batch_size=16), passport=passport))
    assert passport.steps == 8
    after = list(passport.parameters())
    assert all(not torch.equal(b, a) for b, a in zip(before, after, strict=True))


def test_augmentation_sees_every_batch_with_the_runs_own_generator() -> None:
    draws: list[float] = []

    def augment(x: Tensor, generator: torch.Generator) -> Tensor:
        draws.append(float(torch.rand(1, generator=generator)))
        return x

    list(train(network(), toy(), Recipe(epochs=2, batch_size=16), augment=augment))
    assert len(set(draws)) == 8


def test_side_by_side_takes_turns_at_going_first() -> None:
    order: list[str] = []

    def run(name: str) -> Iterator[Epoch]:
        for number in (1, 2, 3):
            order.append(name)
            yield Epoch(number, 1.0, 0.0)

    pairs = list(side_by_side(run("plain"), run("marked")))
    assert [(a.number, b.number) for a, b in pairs] == [(1, 1), (2, 2), (3, 3)]
    assert order == ["plain", "marked", "marked", "plain", "plain", "marked"]


def test_accuracy_counts_over_all_batches() -> None:
    x = torch.arange(10.0).reshape(10, 1)
    y = torch.tensor([0] * 5 + [1] * 5)

    def predict(inputs: Tensor) -> Tensor:
        return torch.cat([5.5 - inputs, inputs - 5.5], 1)  # wrong for 5 only

    assert accuracy(predict, x, y, batch_size=3) == 0.9


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 1}, {"learning_rate": 0.0}])
def test_recipes_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        Recipe(**wrong)
