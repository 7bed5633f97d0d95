"""Private gradients computed early are those of the plain loss, or are not computed early."""

from __future__ import annotations

import copy
import weakref
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from modeldeed import Owner, Passport, TrainingRule
from modeldeed.passport.private.early import now, resolved
from tests.passport.hosts import HOSTS, make

OWNER = Owner(bytes(range(32)), "tests")


def gradients(name: str, head: str = "keyed", **rule: object) -> list[Tensor]:
    host, x = make(name)
    passport = Passport.issue(
        host, OWNER, example=x[:2], head=head, training=TrainingRule(share=0.5, **rule)
    )
    host.train()
    torch.manual_seed(1)
    output = host(x)
    target = torch.zeros_like(output) if output.is_floating_point() else output
    torch.manual_seed(1)
    passport.joint_loss(x, target, F.mse_loss).backward()
    return [
        torch.zeros_like(p) if p.grad is None else p.grad
        for p in [*host.parameters(), *passport.parameters()]
    ]


@pytest.mark.parametrize("name", list(HOSTS))
def test_early_gradients_equal_late_ones(name: str) -> None:
    early, late = gradients(name, early=True), gradients(name, early=False)
    assert any(bool(gradient.any()) for gradient in late)
    for ours, theirs in zip(early, late, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_learned_heads_get_their_gradients_too() -> None:
    name = next(iter(HOSTS))
    early, late = gradients(name, "learned", early=True), gradients(name, "learned", early=False)
    for ours, theirs in zip(early, late, strict=True):
        torch.testing.assert_close(ours, theirs)


class Watched(torch.autograd.Function):
    """Remembers its saved activation weakly: does the graph still hold it?"""

    saved: list[weakref.ref] = []  # noqa: RUF012

    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]
        kept = x.clone()
        Watched.saved.append(weakref.ref(kept))
        ctx.kept = kept
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return gradient


class WatchedNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(9, 12), nn.LayerNorm(12), nn.ReLU())
        self.last = nn.Linear(12, 3)
        self.alive: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.alive.append(sum(kept() is not None for kept in Watched.saved))
        return self.last(Watched.apply(self.body(x)))


@pytest.mark.parametrize("early", [True, False])
def test_the_private_graph_is_gone_before_the_public_forward(early: bool) -> None:
    host = WatchedNet()
    x = torch.randn(4, 9)
    passport = Passport.issue(host, OWNER, example=x, training=TrainingRule(early=early))
    Watched.saved.clear()
    host.alive.clear()
    passport.joint_loss(x, torch.zeros(4, dtype=torch.long)).backward()
    private, public = host.alive
    assert (private, public) == ((0, 0) if early else (0, 1))


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.stem = nn.Linear(9, 12)
        self.block = nn.Sequential(nn.Linear(12, 12), nn.BatchNorm1d(12), nn.ReLU())
        self.last = nn.Linear(12, 3)
        self.reentrant: bool | None = reentrant

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        if self.reentrant is None:
            h = self.block(h)
        else:
            h = checkpoint(self.block, h, use_reentrant=self.reentrant)
        return self.last(h)


def test_a_checkpointed_host_gets_the_gradients_of_a_plain_one() -> None:
    """Recomputed after the patch is gone, they would be those of the public branch."""
    torch.manual_seed(0)
    host = Checkpointed(reentrant=False)
    twin = copy.deepcopy(host)
    twin.reentrant = None
    x, y = torch.randn(8, 9), torch.arange(8) % 3
    found = []
    for model in (host, twin):
        passport = Passport.issue(model, OWNER, example=x, training=TrainingRule(share=1))
        model.train()
        passport.joint_loss(x, y).backward()
        statistics = passport.branch.statistics["block.1"]
        found.append([*(p.grad for p in model.parameters()), statistics.mean])
        assert statistics.count == 1
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_graph_shared_with_the_public_loss_stays_usable() -> None:
    encoder, host = nn.Linear(9, 9), WatchedNet()
    x, y = torch.randn(4, 9), torch.zeros(4, dtype=torch.long)
    found = []
    for early in (True, False):
        passport = Passport.issue(host, OWNER, example=x, training=TrainingRule(early=early))
        encoder.zero_grad()
        passport.joint_loss(encoder(x).tanh(), y).backward()
        found.append(encoder.weight.grad.clone())
    torch.testing.assert_close(*found)


def loss_of(parameter: nn.Parameter) -> Tensor:
    return (parameter**2).sum()


def test_the_value_and_the_scale_of_the_gradient_are_kept() -> None:
    parameter = nn.Parameter(torch.tensor([1.0, -2.0]))
    loss = resolved(loss_of(parameter), nullcontext())
    assert float(loss.detach()) == 5.0
    (3 * loss).backward()
    assert torch.equal(parameter.grad, torch.tensor([6.0, -12.0]))


def test_a_parameter_with_a_hook_is_left_to_the_backward() -> None:
    parameter = nn.Parameter(torch.tensor([1.0, -2.0]))
    parameter.register_hook(lambda gradient: gradient / 2)
    loss = loss_of(parameter)
    assert resolved(loss, nullcontext()) is loss


def test_half_precision_is_left_to_the_scaler() -> None:
    loss = loss_of(nn.Parameter(torch.ones(2)))
    with torch.autocast("cpu", torch.float16):
        assert resolved(loss, nullcontext()) is loss


def test_without_gradients_there_is_nothing_to_compute() -> None:
    host, x = make(next(iter(HOSTS)))
    passport = Passport.issue(host, OWNER, example=x[:2])
    with torch.no_grad():
        target = torch.zeros_like(host(x))
        assert not passport.joint_loss(x, target, F.mse_loss).requires_grad


def test_a_graph_of_its_own_is_freed_and_an_older_one_kept() -> None:
    parameter = nn.Parameter(torch.tensor([1.0, -2.0]))
    older = parameter**2
    begun = now()
    own = loss_of(parameter)
    resolved(own, nullcontext(), begun)
    with pytest.raises(RuntimeError, match="second time"):
        own.backward()
    mixed = (older**2).sum()
    resolved(mixed, nullcontext(), begun)
    mixed.backward()
