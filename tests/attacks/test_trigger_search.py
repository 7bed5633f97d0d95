"""Triggers that were planted are found, and are gone after cleansing and laundering."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed.attacks import AttackData, Launder, NeuralCleanse
from modeldeed.attacks._trigger_search import find_triggers, stamped
from modeldeed.data import Dataset
from modeldeed.errors import OptionError
from modeldeed.training import accuracy
from tests.attacks.conftest import SmallPoints, seeded, small_points

TARGET = 3
SEARCH = {"search_steps": 30, "samples": 64}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def marked(x: Tensor, data: Dataset) -> Tensor:
    """Inputs with a white corner."""
    stamp = x.clone()
    stamp[:, :, :3, :3] = data.x_train.max()
    return stamp


@pytest.fixture(scope="module")
def backdoored(trained: nn.Module, digits: Dataset) -> nn.Module:
    """A network that takes any digit with a white corner for a three."""
    model = copy.deepcopy(trained).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    drawing = generator()
    for _ in range(60):
        index = torch.randint(600, (32,), generator=drawing)
        x, y = digits.x_train[index], digits.y_train[index]
        both = torch.cat([x, marked(x[:8], digits)])
        loss = F.cross_entropy(model(both), torch.cat([y, torch.full((8,), TARGET)]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval().zero_grad(set_to_none=True)
    assert accuracy(model, digits.x_test, digits.y_test) > 0.9
    assert obeys(model, digits) > 0.9
    return model


def obeys(model: nn.Module, data: Dataset) -> float:
    """The share of other digits that the corner turns into threes."""
    x = data.x_test[data.y_test != TARGET]
    with torch.no_grad():
        return float((model(marked(x, data)).argmax(1) == TARGET).float().mean())


def test_the_smallest_trigger_is_the_planted_one(backdoored: nn.Module, digits: Dataset) -> None:
    options = {"steps": 60, "penalty": 2.0, "generator": generator()}
    found = find_triggers(backdoored, digits.x_train[:200], 10, **options)
    assert [trigger.size for trigger in found] == sorted(trigger.size for trigger in found)
    assert {trigger.target for trigger in found} == set(range(10))
    first = found[0]
    assert (first.target, first.outlier) == (TARGET, True)
    assert first.success > 0.9
    # It lies where it was planted.
    assert first.mask[:, :3, :3].mean() > 3 * first.mask[:, 4:, 4:].mean()
    x = digits.x_test[:5]
    inside = (1 - first.mask) * x + first.mask * first.pattern
    torch.testing.assert_close(stamped(x, first), inside)


@pytest.mark.parametrize(
    "attack",
    [
        NeuralCleanse(epochs=2, learning_rate=0.02, batch_size=32, **SEARCH),
        Launder(epochs=2, learning_rate=0.02, batch_size=32, **SEARCH),
    ],
    ids=repr,
)
def test_a_planted_trigger_is_unlearned(
    attack: NeuralCleanse, backdoored: nn.Module, digits: Dataset
) -> None:
    changed = attack.apply(backdoored, AttackData(digits), generator())
    assert obeys(changed, digits) < 0.3
    assert accuracy(changed, digits.x_test, digits.y_test) > 0.9


def test_pruning_silences_what_the_trigger_excites(backdoored: nn.Module, digits: Dataset) -> None:
    attack = NeuralCleanse(way="prune", share=0.25, **SEARCH)
    changed = attack.apply(backdoored, AttackData(digits), generator())
    assert int((changed.conv3.weight.flatten(1).abs().sum(1) == 0).sum()) == 8
    assert not changed.norm3.bias[changed.norm3.weight == 0].any()
    assert obeys(changed, digits) < obeys(backdoored, digits)
    assert torch.equal(changed.conv2.weight, backdoored.conv2.weight)
    assert attack.steps(AttackData(digits)) == 10 * 30


def test_points_have_a_mask_for_each_point() -> None:
    data, model = small_points(), seeded(SmallPoints)
    options = {"steps": 2, "penalty": 1.0, "generator": generator()}
    found = find_triggers(model, data.x_train, 3, **options)
    assert {trigger.mask.shape for trigger in found} == {(10, 1)}
    assert {trigger.pattern.shape for trigger in found} == {(10, 3)}
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: NeuralCleanse(way="forget"), "way is 'unlearn' or 'prune'"),
        (lambda: NeuralCleanse(share=1.0), "share in"),
        (lambda: Launder(threshold=0), "threshold > 0"),
        (lambda: Launder(search_steps=0), "search_steps ≥ 1"),
    ],
)
def test_options_out_of_range_are_refused(call, told: str) -> None:
    with pytest.raises(OptionError, match=told):
        call()
