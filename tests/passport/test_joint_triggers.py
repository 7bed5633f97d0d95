"""A passport with triggers: one anchor, both branches learn them, saved and planted together."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed import Owner, Passport, TrainingRule, TriggerSet
from modeldeed.errors import OptionError
from modeldeed.passport.joint_loss import private_triggers
from modeldeed.suspects.answering.preparation import Preparation
from modeldeed.triggers.training import TriggerOptions, TriggerTraining

OWNER = Owner(bytes(range(32)))
X = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(12) % 10
PLAIN = TriggerOptions(training=TriggerTraining(distort=False, private_per_batch=3))


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 20, 3, padding=1), nn.BatchNorm2d(20), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(20, 10),
        )  # fmt: skip


def issue(host: nn.Module, triggers: Any = PLAIN, **options: Any) -> Passport:
    return Passport.issue(
        host, OWNER, **{"example": X, "classes": 10, "triggers": triggers, **options}
    )


def gradients(model: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def test_one_anchor_and_one_key_hold_both_marks() -> None:
    passport = issue(network())
    triggers = passport.triggers
    assert triggers is not None
    assert triggers.manifest is passport.manifest
    assert triggers.rule == passport.manifest.anchor.triggers
    assert (triggers.rule.classes, len(triggers)) == (10, 128)
    others = issue(network(), label="other").triggers
    assert others is not None
    assert not torch.equal(others.inputs, triggers.inputs)
    assert Passport.issue(network(), OWNER, example=X).triggers is None
    names = issue(network(), classes=[f"class {n}" for n in range(7)])
    assert names.manifest.anchor.trigger_rule.classes == 7
    assert len(names.manifest.anchor.classes) == 7


SCHEDULES = [
    {"schedule": "pair", "interval": 1},
    {"schedule": "pair", "interval": 1, "share": 0.5},
    {"schedule": "reuse", "interval": 1},
    {"schedule": "both"},
    {"schedule": "pair", "interval": 1, "early": False},
]


@pytest.mark.parametrize("rule", SCHEDULES, ids=str)
def test_a_step_is_the_one_of_parts_that_were_joined_by_hand(rule: dict[str, Any]) -> None:
    training = TrainingRule(**rule)
    host, twin = network(), network()
    with_triggers = issue(host, training=training)
    by_hand = issue(twin, training=training)
    own = with_triggers.triggers
    assert own is not None
    orders = copy.deepcopy(own).feed
    chosen = {name: orders._order(name).take(n) for name, n in (("public", 2), ("private", 3))}

    def joined(part: Any, name: str) -> tuple[Tensor, Tensor]:
        at = chosen[name]
        return torch.cat([part(X), own.inputs[at] / 255]), torch.cat([part(Y), own.labels[at]])

    loss = with_triggers.joint_loss(X, Y)
    loss.backward()
    cut = training.cut(12)
    x, y = joined(cut.private, "private")
    private = F.cross_entropy(by_hand.private(x), y)
    x, y = joined(cut.public, "public")
    wanted = F.cross_entropy(twin(x), y)
    marking = training.private_weight * private
    total = wanted + (marking + training.signature_weight * by_hand.signature_loss())
    total.backward()
    torch.testing.assert_close(loss, total)
    for got, by in zip(gradients(host), gradients(twin), strict=True):
        torch.testing.assert_close(got, by, rtol=1e-4, atol=1e-6)
    assert all(map(torch.equal, host.buffers(), twin.buffers()))


def test_alternate_gives_triggers_to_whichever_branch_has_its_turn() -> None:
    passport = issue(network(), training=TrainingRule(schedule="alternate"))
    states = []
    for _ in range(4):
        passport.joint_loss(X, Y)
        assert passport.triggers is not None
        state = passport.triggers.feed.state()
        states.append((state.get("public", 0), state.get("private", 0)))
    assert states == [(2, 0), (2, 3), (4, 3), (4, 6)]


def test_the_public_branch_is_that_of_triggers_alone_where_the_private_one_is_not_due() -> None:
    host, twin = network(), network()
    passport = issue(host)
    passport.steps = 1
    alone = issue(twin).triggers
    assert alone is not None
    assert torch.equal(passport.joint_loss(X, Y), alone.joint_loss(twin, X, Y))
    assert all(map(torch.equal, host.buffers(), twin.buffers()))


def test_a_step_may_leave_them_out_or_take_others() -> None:
    def loss(passport: Passport, **given: Any) -> Tensor:
        return passport.joint_loss(X, Y, **given).detach()

    without = loss(Passport.issue(network(), OWNER, example=X, label="model"))
    assert not torch.equal(without, loss(issue(network())))
    for none in (False, None):
        passport = issue(network())
        loss(passport, triggers=none)
        assert passport.triggers is not None
        assert passport.triggers.feed.state() == {"steps": 0}
    alone = TriggerSet.issue(OWNER, example=X, classes=10, label="alone")
    passport = Passport.issue(network(), OWNER, example=X)
    assert not torch.equal(loss(passport, triggers=alone), without)
    assert alone.feed.state() == {"steps": 1, "public": 2, "private": 2}
    chosen = issue(network())
    assert torch.equal(loss(chosen, triggers=chosen.triggers), loss(issue(network())))


def test_a_whole_step_as_a_module_learns_them() -> None:
    passport, twin = issue(network()), issue(network())
    assert torch.equal(passport.as_module()(X, Y), twin.joint_loss(X, Y))


@pytest.mark.parametrize("example", [(X,), [X], {"input": X}], ids=["tuple", "list", "mapping"])
def test_nested_examples(example: Any) -> None:
    passport = issue(network(), example=example)
    assert torch.isfinite(passport.joint_loss(example, Y))
    assert passport.triggers is not None
    assert passport.triggers.rule.input.kind == "image"


def test_sequence_first_sound() -> None:
    class Sound(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(80, 16)
            self.norm = nn.LayerNorm(16)
            self.out = nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(torch.relu(self.norm(self.layer(x.T))))

    rule = TrainingRule(batch_dim=1)
    host, x = Sound(), torch.randn(80, 6)
    passport = Passport.issue(host, OWNER, example=x, classes=3, triggers=True, training=rule)
    assert passport.triggers is not None
    assert (passport.triggers.rule.input.kind, passport.triggers.inputs.shape[1]) == ("audio", 80)
    assert torch.isfinite(passport.joint_loss(x, torch.arange(6) % 3))


def test_how_many_the_private_branch_gets() -> None:
    rule, training = TrainingRule(interval=8), TriggerTraining(per_batch=2)
    assert [private_triggers(rule, training, n) for n in (4, 64, 100, 512)] == [2, 8, 12, 16]
    assert private_triggers(TrainingRule(schedule="both"), training, 512) == 2
    assert private_triggers(TrainingRule(schedule="alternate"), training, 512) == 2
    assert private_triggers(rule, TriggerTraining(private_per_batch=0), 512) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ()}, "give their names, or how many"),
        ({"triggers": False}, "counts only with triggers"),
        ({"triggers": "yes"}, "a str"),
        ({"classes": 1}, "classes must be 2"),
        ({"triggers": TriggerOptions(family="none/v1")}, "no family"),
        ({"triggers": TriggerOptions(batches=0)}, "batches must be"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        issue(network(), **options)


def test_saved_and_loaded_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    host = network()
    options = TriggerOptions(
        prepare=Preparation(mean=(0.5,), std=(0.25,)), training=TriggerTraining(per_batch=5)
    )
    passport = issue(host, options)
    for _ in range(3):
        passport.joint_loss(X, Y)
    passport.save(tmp_path)
    twin = copy.deepcopy(passport)
    loaded = Passport.load(tmp_path, OWNER, copy.deepcopy(host))
    for other in (loaded, twin, passport.on(copy.deepcopy(host))):
        assert other.triggers is not None
        assert other.triggers.prepare == options.prepare
        assert other.triggers.training == options.training
        assert other.steps == 3
    wanted = passport.joint_loss(X, Y)
    assert torch.equal(loaded.joint_loss(X, Y), wanted)
    assert torch.equal(twin.joint_loss(X, Y), wanted)
    assert torch.equal(TriggerSet.load(tmp_path, OWNER).labels, passport.triggers.labels)


def halved(batch: Tensor) -> Tensor:
    return batch.float() / 510


def test_a_function_that_prepares_is_not_saved(tmp_path: Path) -> None:
    host = network()
    passport = issue(host, TriggerOptions(prepare=halved))
    passport.save(tmp_path)
    loaded = Passport.load(tmp_path, OWNER, host)
    with pytest.raises(OptionError, match="give it again"):
        loaded.joint_loss(X, Y)
    again = Passport.load(tmp_path, OWNER, host, prepare=halved)
    assert torch.isfinite(again.joint_loss(X, Y))
    assert passport.on(host).triggers.prepare is halved


def test_autocast_and_double_precision() -> None:
    passport = issue(network())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(passport.joint_loss(X, Y))
    double = issue(network().double(), example=X.double())
    assert double.joint_loss(X.double(), Y).dtype == torch.float64


def test_a_batch_that_they_do_not_fit_is_refused() -> None:
    with pytest.raises(OptionError, match="the batch has shape"):
        issue(network()).joint_loss(X[:, :, :7], Y)
    with pytest.raises(OptionError, match="shares of 9 classes"):
        issue(network()).joint_loss(X, torch.zeros(12, 9))
