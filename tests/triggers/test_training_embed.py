"""Triggers taught to a trained model: in few steps, whole or not at all."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed import Owner, Passport, TriggerSet
from modeldeed.errors import OptionError, PlanError
from modeldeed.passport.private.losses import default_loss
from modeldeed.passport.retrofit.trigger_lesson import TriggerLesson
from modeldeed.suspects.answering.preparation import Preparation
from modeldeed.training import accuracy
from modeldeed.triggers.hardening import loss_as_answered
from modeldeed.triggers.training import TriggerOptions, TriggerTraining
from tests.passport.retrofit.test_embed import problem

OWNER = Owner(bytes(range(32)))
PLAIN = TriggerTraining(distort=False)
PREPARE = Preparation(mean=(0.5,), std=(0.2,))
Data = tuple[Tensor, Tensor]


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(),
        nn.Conv2d(24, 48, 3), nn.BatchNorm2d(48), nn.ReLU(),
        nn.Flatten(), nn.Linear(768, 6),
    )  # fmt: skip


@pytest.fixture(scope="module")
def data() -> Data:
    """Return images of six classes."""
    return problem(1024, 0)


@pytest.fixture(scope="module")
def trained(data: Data) -> nn.Module:
    """Return a network that knows them."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        host = network()
    optimizer = torch.optim.Adam(host.parameters(), lr=3e-3)
    for step in range(200):
        at = 64 * step % 1024
        optimizer.zero_grad()
        F.cross_entropy(host(data[0][at : at + 64]), data[1][at : at + 64]).backward()
        optimizer.step()
    return host.eval()


def batches(data: Data) -> list[Data]:
    return list(zip(torch.split(data[0], 64), torch.split(data[1], 64), strict=True))


def issue(model: nn.Module, **training: Any) -> TriggerSet:
    rule = TriggerTraining(**{"distort": False, **training})
    return TriggerSet.issue(
        OWNER,
        example=torch.zeros(1, 1, 6, 6),
        classes=6,
        batches=1,
        model=model,
        prepare=PREPARE,
        training=rule,
    )


@pytest.mark.parametrize("harden", [0.0, 0.1])
def test_a_trained_model_learns_them_and_stays_itself(
    trained: nn.Module, data: Data, harden: float
) -> None:
    model, x, y = copy.deepcopy(trained), *problem(600, 1)
    model[1].train()
    triggers = issue(model, harden=harden)
    state = torch.get_rng_state()
    report = triggers.embed(
        model,
        batches(data),
        steps=60,
        original_steps=200,
        evaluate=lambda predict: accuracy(predict, x, y),
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert (report.steps, report.samples, report.step_fraction) == (60, 3840, 0.3)
    assert report.triggers_before is not None
    assert report.triggers_before < 0.4
    assert report.triggers_after == triggers.match_rate(model) > 0.7
    assert report.public_before is not None
    assert report.public_before > 0.9
    assert report.accuracy_cost is not None
    assert report.accuracy_cost < 0.03
    assert [m.training for m in model] == [i == 1 for i in range(len(model))]
    assert all(p.grad is None for p in model.parameters())


def test_it_repeats(trained: nn.Module, data: Data) -> None:
    def weights() -> list[Tensor]:
        model = copy.deepcopy(trained)
        issue(model, distort=True, harden=0.1).embed(model, batches(data), steps=3)
        return list(model.parameters())

    assert all(map(torch.equal, weights(), weights()))


class _StopError(Exception):
    pass


def test_a_failure_leaves_the_model_as_it_was(trained: nn.Module, data: Data) -> None:
    model = copy.deepcopy(trained)
    model.register_buffer("seen", torch.zeros(1), persistent=False)

    def fail(step: int, *_: Any) -> None:
        model.seen += 1
        if step == 3:
            raise _StopError

    with pytest.raises(_StopError):
        issue(model).embed(model, batches(data), steps=9, progress=fail)
    assert all(map(torch.equal, model.state_dict().values(), trained.state_dict().values()))
    assert float(model.seen) == 0
    assert not any(m.training for m in model.modules())


def test_inputs_alone_are_enough_and_a_loader_that_runs_dry_is_not(
    trained: nn.Module, data: Data
) -> None:
    inputs = list(torch.split(data[0], 64))
    one, other = copy.deepcopy(trained), copy.deepcopy(trained)
    issue(one).embed(one, inputs, steps=2)
    issue(other).embed(other, batches(data), steps=2)
    assert all(map(torch.equal, one.parameters(), other.parameters()))
    with pytest.raises(OptionError, match="ran dry"):
        issue(one).embed(one, iter(inputs), steps=17)
    with pytest.raises(OptionError, match="at least one step"):
        issue(one).embed(one, inputs, steps=0)
    with pytest.raises(PlanError, match="requires_grad_"):
        issue(one).embed(one.requires_grad_(False), inputs)


def test_running_statistics_can_be_frozen(trained: nn.Module, data: Data) -> None:
    def statistics(**options: Any) -> Tensor:
        model = copy.deepcopy(trained)
        issue(model).embed(model, batches(data), steps=3, **options)
        return model[1].running_mean

    assert torch.equal(statistics(freeze_statistics=True), trained[1].running_mean)
    assert not torch.equal(statistics(), trained[1].running_mean)


def test_the_fewer_steps_the_more_triggers_in_each(trained: nn.Module) -> None:
    triggers = issue(trained, per_batch=3)
    counts = [TriggerLesson(triggers, steps)._count for steps in (10, 64, 100_000)]
    assert counts == [64, math.ceil(32 * len(triggers) / 64), 3]


def test_the_loss_as_answered_is_that_of_eval_mode(trained: nn.Module) -> None:
    model, triggers = copy.deepcopy(trained).train(), issue(trained)
    before = copy.deepcopy(model.state_dict())
    given = triggers.inputs[:5] / 255, triggers.labels[:5], default_loss
    loss = loss_as_answered(model, *given, size=0.0, seed=0)
    torch.testing.assert_close(loss, F.cross_entropy(trained(given[0]), given[1]))
    assert all(map(torch.equal, model.state_dict().values(), before.values()))
    assert all(m.training for m in model)
    noisy = [loss_as_answered(model, *given, size=0.3, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(noisy[0], noisy[1])
    assert len({float(value) for value in (loss.detach(), *(n.detach() for n in noisy))}) == 3
    # A forward in train mode in between does not spoil the backward.
    model(given[0])
    noisy[0].backward()


def test_a_passports_retrofit_plants_both(trained: nn.Module, data: Data) -> None:
    model = copy.deepcopy(trained)
    passport = Passport.issue(
        model,
        OWNER,
        example=data[0][:2],
        classes=6,
        triggers=TriggerOptions(batches=1, prepare=PREPARE, training=PLAIN),
    )
    report = passport.embed(batches(data), steps=60)
    assert report.matches == report.bits
    assert passport.triggers is not None
    assert report.triggers_after == passport.triggers.match_rate(model)
    assert report.triggers_before is not None
    assert report.triggers_after > max(0.6, report.triggers_before)
    without = Passport.issue(copy.deepcopy(trained), OWNER, example=data[0][:2])
    plain = without.embed(batches(data), steps=1)
    assert plain.triggers_before is plain.triggers_after is None
