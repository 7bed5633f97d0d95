"""The self-check at issue: each of its parts catches what the others cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed import Owner, Passport, register_norm
from modeldeed.errors import PlanError
from modeldeed.passport import issuing
from modeldeed.passport.host.self_check import require_sound
from tests.passport.hosts import HOSTS, ConvHost, images, make
from tests.passport.private.test_laws import same, snapshot

OWNER = Owner(bytes(range(32)), "tests")


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Halved(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(0.5 * x)


@register_norm("halved", Halved, channels=lambda norm: norm.num_features)
def _halved(norm: Any, x: Tensor, scale: Any, bias: Any, statistics: Any) -> Tensor:
    return F.batch_norm(x, statistics.mean, statistics.var, scale, bias, norm.training)


def test_a_kind_that_is_not_the_layer_is_named() -> None:
    told = r"norm1 \(Halved\): with its own scale, bias and statistics the kind 'halved' gives"
    with pytest.raises(PlanError, match=told):
        Passport.issue(ConvHost(Halved), OWNER, example=images())
    # Left out, its statistics are still kept apart by the same wrong function.
    with pytest.raises(PlanError, match=told):
        Passport.issue(ConvHost(Halved), OWNER, example=images(), exclude="norm1")


class Branching(ConvHost):
    """Runs a norm a second time when its output is not what it was made for."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(self.conv1(x))
        if abs(float(y.std()) - 1) > 0.02:
            y = self.norm1(y)
        return self.fc(self.norm2(self.conv2(y)).mean((2, 3)))


def test_a_norm_that_runs_more_often_is_named() -> None:
    host = Branching(lambda c: nn.BatchNorm2d(c, track_running_stats=False))
    with pytest.raises(PlanError, match="norm1 runs 2 times in the private call and 1 times"):
        Passport.issue(host, OWNER, example=images())


class Bypassing(ConvHost):
    """Uses a norm's parameters beside the norm: the private call cannot see that."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(self.conv1(x))
        y = y + F.group_norm(y, 4, self.norm1.weight, self.norm1.bias)
        return self.fc(self.norm2(self.conv2(y)).mean((2, 3)))


def test_parameters_used_beside_their_norm_are_found() -> None:
    host = Bypassing(lambda c: nn.GroupNorm(4, c))
    before = snapshot(host)
    with pytest.raises(PlanError, match=r"^norm2: the private branch is not this host"):
        Passport.issue(host, OWNER, example=images())
    assert same(before, snapshot(host))


class Remembering(ConvHost):
    """Answers by what it has seen before."""

    runs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        # Runs: the plan's, public, private, rebuilt, and public again, which differs.
        return super().forward(x) * (1 if self.runs < 5 else 2)


def test_a_host_with_a_memory_is_refused() -> None:
    host = Remembering(nn.BatchNorm2d)
    with pytest.raises(PlanError, match="keeps state of its own"):
        Passport.issue(host, OWNER, example=images())


class Random(ConvHost):
    """Draws from a generator of its own, which nobody can put back."""

    def __init__(self, norm: Callable[[int], nn.Module]) -> None:
        super().__init__(norm)
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.rand((), generator=self.generator)


def test_a_host_that_is_never_the_same_is_refused() -> None:
    with pytest.raises(PlanError, match="another output each time"):
        Passport.issue(Random(nn.BatchNorm2d), OWNER, example=images())


class Noisy(ConvHost):
    """Draws from the global generator, also in eval mode."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + torch.randn_like(x))


def test_noise_from_the_global_generator_is_no_difference() -> None:
    host = Noisy(nn.BatchNorm2d)
    state = torch.get_rng_state()
    Passport.issue(host, OWNER, example=images())
    assert torch.equal(state, torch.get_rng_state())


class Shrinking(ConvHost):
    """Changes a parameter in eval mode once its norms give something else."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(self.conv1(x))
        if abs(float(y.std()) - 1) > 0.02:
            self.fc.weight.data.mul_(0.5)
        return self.fc(self.norm2(self.conv2(y)).mean((2, 3)))


def test_a_host_that_a_private_call_changes_is_refused() -> None:
    host = Shrinking(lambda c: nn.BatchNorm2d(c, track_running_stats=False))
    with pytest.raises(PlanError, match="changes the host's values"):
        Passport.issue(host, OWNER, example=images())


@pytest.mark.parametrize("name", list(HOSTS))
def test_a_wrong_private_branch_never_passes(name: str) -> None:
    """The rebuilt run is another computation: a branch that is off by a little is refused."""
    host, x = make(name)
    branch = Passport.issue(host, OWNER, example=x[:2]).branch
    require_sound(branch, x[:2])
    norm = branch.targets[-1].norm
    module, kind = branch._replaced[norm]

    def off(layer: Any, x: Tensor, scale: Any, bias: Any, statistics: Any) -> Tensor:
        return kind.apply(layer, x, scale, None if bias is None else bias + 0.01, statistics)

    branch._replaced[norm] = module, replace(kind, apply=off)
    with pytest.raises(PlanError, match="the private branch is not this host"):
        require_sound(branch, x[:2])


@pytest.mark.parametrize("name", ["batch2d", "spectral-norm", "post-norm", "resnet"])
def test_its_cost_is_a_few_forwards(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    host, x = make(name)
    forwards: list[str] = []
    count = host.register_forward_pre_hook(lambda *_: forwards.append("run"))
    planned: list[int] = []
    check = issuing.require_sound
    monkeypatch.setattr(
        issuing,
        "require_sound",
        lambda *args: (planned.append(len(forwards)), check(*args)),
    )
    Passport.issue(host, OWNER, example=x[:2])
    count.remove()
    assert (planned, len(forwards)) == ([1], 5)


def test_a_failing_run_leaves_nothing_behind() -> None:
    class Fragile(ConvHost):
        def forward(self, x: Tensor) -> Tensor:
            # In the rebuilt run, and only there, the norm's own tensor is another one.
            if self.norm1.weight is not self.first:
                raise ValueError("another weight")
            return super().forward(x)

    host = Fragile(nn.BatchNorm2d)
    object.__setattr__(host, "first", host.norm1.weight)
    before = snapshot(host)
    with pytest.raises(ValueError, match="another weight"):
        Passport.issue(host, OWNER, example=images())
    assert host.norm1.weight is vars(host)["first"]
    assert same(before, snapshot(host))
