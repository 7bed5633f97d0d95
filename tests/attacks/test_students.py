"""Students learn answers and not labels, from nothing but what they may see."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from modeldeed.attacks import (
    AttackData,
    CrossArchitectureRetrain,
    Distill,
    Knockoff,
    Retrain,
    SmoothRetrain,
)
from modeldeed.attacks._students import anew
from modeldeed.attacks.knockoff import noise_like
from modeldeed.data import Dataset
from modeldeed.errors import OptionError
from modeldeed.training import accuracy
from tests.attacks.conftest import SmallTransformer, small_data

LONG = {"epochs": 6, "learning_rate": 0.05, "batch_size": 32}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def dense() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


@pytest.fixture(scope="session")
def queries(digits: Dataset) -> AttackData:
    """Pictures whose labels are all wrong."""
    wrong = replace(digits, y_train=(digits.y_train + 1) % 10)
    mirrored = replace(digits, name="mirrored", x_train=digits.x_train.flip(3))
    return AttackData(wrong, other_data=mirrored, other_architecture=dense)


def agreement(student: nn.Module, teacher: nn.Module, data: Dataset) -> float:
    with torch.no_grad():
        return accuracy(student, data.x_test, teacher(data.x_test).argmax(1))


@pytest.mark.parametrize(
    "attack",
    [
        Distill(**LONG),
        Distill(**LONG, hard=True),
        Distill(**LONG, architecture="other"),
        Retrain(**LONG),
        CrossArchitectureRetrain(**LONG),
        SmoothRetrain(**LONG, noise=0.1, copies=2),
        Knockoff(**LONG),
        Knockoff(**LONG, queries="other"),
    ],
    ids=repr,
)
def test_a_student_answers_as_its_teacher(
    attack: Distill, trained: nn.Module, digits: Dataset, queries: AttackData
) -> None:
    student = attack.apply(trained, queries, generator())
    floor = 0.4 if attack.name == "knockoff" and attack.queries == "other" else 0.75
    assert agreement(student, trained, digits) > floor
    other = attack.architecture == "other"
    assert isinstance(student, nn.Sequential) == other
    if not other:
        weight, own = student.conv2.weight.flatten(1), trained.conv2.weight.flatten(1)
        assert torch.cosine_similarity(weight, own).mean().detach().abs() < 0.2


def test_noise_teaches_little_but_costs_no_pictures(
    trained: nn.Module, digits: Dataset, queries: AttackData
) -> None:
    attack = Knockoff(**LONG, queries="noise", budget=320)
    assert attack.inputs_seen(queries) == 320
    assert attack.steps(queries) == 6 * 10
    student = attack.apply(trained, queries, generator())
    assert agreement(student, trained, digits) > 0.1


def test_noise_is_like_the_inputs_place_by_place(digits: Dataset) -> None:
    noise = noise_like(digits.x_train, 2000, generator())
    assert noise.shape == (2000, 1, 8, 8)
    assert noise.min() >= digits.x_train.min()
    assert noise.max() <= digits.x_train.max()
    apart = (noise.mean(0) - digits.x_train.mean(0)).abs()
    assert apart.mean() < 0.3


def test_a_budget_is_kept(model: nn.Module, data: AttackData) -> None:
    asked = []

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x):
            asked.extend(hash(one.numpy().tobytes()) for one in x)
            return self.inner(x)

        def __deepcopy__(self, memo):
            return Counting()

    Knockoff(epochs=3, batch_size=16, budget=16, architecture="other").apply(
        Counting().eval(), data, generator()
    )
    assert (len(asked), len(set(asked))) == (48, 16)


def test_smooth_retraining_asks_around_every_input(model: nn.Module, data: AttackData) -> None:
    attack = SmoothRetrain(noise=0.5, copies=3)
    asked = []

    def answers(x: torch.Tensor) -> torch.Tensor:
        asked.append(x)
        return x.flatten(1)[:, :3]

    x = data.dataset.x_train[:4]
    found = attack._smoothed(answers, 0.5, generator())(x)
    assert len(asked) == 3
    assert all(0.3 < float((one - x).std()) < 0.7 for one in asked)
    torch.testing.assert_close(found.sum(1), torch.ones(4))


@pytest.mark.parametrize("build", [SmallTransformer, dense])
def test_a_new_network_has_nothing_of_the_old_one(build) -> None:
    model = build()
    new = anew(model)
    for name, value in model.named_parameters():
        if value.std() > 0:
            assert not torch.equal(value, new.get_parameter(name)), name


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: Distill(architecture="third"), "architecture is 'same' or 'other'"),
        (lambda: Distill(temperature=0), "temperature is > 0"),
        (lambda: Knockoff(queries="all"), "queries are"),
        (lambda: Knockoff(budget=3), "less than a batch"),
        (lambda: SmoothRetrain(copies=0), "copies ≥ 1"),
    ],
)
def test_options_out_of_range_are_refused(call, told: str) -> None:
    with pytest.raises(OptionError, match=told):
        call()


@pytest.mark.parametrize(
    "attack", [Distill(architecture="other"), CrossArchitectureRetrain(), Knockoff(queries="other")]
)
def test_what_is_missing_is_named(attack: Distill, model: nn.Module) -> None:
    with pytest.raises(OptionError, match=r"give AttackData\(other_"):
        attack.apply(model, AttackData(small_data()), generator())
