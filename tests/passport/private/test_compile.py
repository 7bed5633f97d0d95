"""Compiled hosts: the public graph stays as it was, and the private branch is right."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._dynamo.testing import CompileCounter, CompileCounterWithBackend
from torch.utils.checkpoint import CheckpointError

from modeldeed import Owner, Passport, TrainingRule
from tests.passport.hosts import images, make
from tests.passport.private.test_checkpointing import Blocks, assert_ordinary, gradients, paths

OWNER = Owner(bytes(range(32)))
HOSTS = pytest.mark.parametrize("name", ["batch2d", "layer"])
# The compiler looks at the gradient of every tensor it is given, private scales too.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def deterministic(name: str) -> tuple[nn.Module, Any]:
    host, x = make(name)
    for module in host.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    return host, x


@HOSTS
def test_a_host_that_was_compiled_and_has_run_keeps_its_graph(name: str) -> None:
    host, x = deterministic(name)
    counter = CompileCounter()
    compiled = torch.compile(host, backend=counter, fullgraph=True)
    expected = compiled(x)
    assert counter.frame_count == 1
    passport = Passport.issue(host, OWNER, example=x[:2])
    private = Passport.issue(copy.deepcopy(host), OWNER, example=x[:2]).private(x)
    assert not torch.allclose(private, expected, atol=1e-2)
    for _ in range(3):
        torch.testing.assert_close(passport.private(x), private)
        torch.testing.assert_close(compiled(x), expected)
    assert counter.frame_count == 1, "a private call made the compiled host compile again"


@HOSTS
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_compiling_in_place_serves_both_branches(name: str, before: bool) -> None:
    plain, x = deterministic(name)
    host = copy.deepcopy(plain)
    counter = CompileCounterWithBackend("aot_eager")
    if before:
        host.compile(backend=counter, fullgraph=True)
        host.eval()(x)  # statistics, and with them the key, stay what they are
        host.train()
    passport = Passport.issue(host, OWNER, example=x[:2])
    twin = Passport.issue(plain, OWNER, example=x[:2])
    if not before:
        host.compile(backend=counter, fullgraph=True)
    host(x)
    counter.frame_count = 0
    for _ in range(6):
        torch.testing.assert_close(passport.private(x), twin.private(x), rtol=1e-4, atol=1e-5)
        host(x)
    assert counter.frame_count == 1, "the private branch is compiled again and again"
    assert_ordinary(host)
    for key, kept in twin.branch.statistics.items():
        torch.testing.assert_close(passport.branch.statistics[key].mean, kept.mean)
        assert passport.branch.statistics[key].count == kept.count


@pytest.mark.parametrize("early", [True, False])
def test_a_compiled_host_trains_as_the_plain_one(early: bool) -> None:
    plain, x = deterministic("batch2d")
    host = copy.deepcopy(plain)
    rule = TrainingRule(interval=1, early=early)
    found = []
    for each in (plain, host):
        passport = Passport.issue(each, OWNER, example=x[:2], training=rule)
        if each is host:
            each.compile(backend="aot_eager")
        y = torch.arange(8) % 5
        found.append(gradients(each, lambda p=passport, y=y: p.joint_loss(x, y)))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


def checkpointed_pair(compiled: str) -> tuple[Passport, Passport]:
    """A plain host, and one that is compiled and checkpointed."""
    torch.manual_seed(0)
    plain = Blocks()
    for module in plain.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    host = copy.deepcopy(plain)
    rule = TrainingRule(interval=1, early=False)
    made = [Passport.issue(h, OWNER, example=images(2), training=rule) for h in (plain, host)]
    host.reentrant = False
    for module in [host] if compiled == "whole" else host.blocks:
        module.compile(backend="aot_eager")
    return made[0], made[1]


def test_checkpoints_of_a_compiled_host_compute_the_right_branch_again() -> None:
    plain, passport = checkpointed_pair("whole")
    for name, run in paths(passport).items():
        expected = gradients(plain.host, paths(plain)[name])
        torch.testing.assert_close(
            gradients(passport.host, run), expected, rtol=1e-4, atol=1e-5, msg=name
        )


def test_compiled_parts_in_checkpoints_of_a_plain_host_fail_loudly() -> None:
    """The compiler orders what it keeps otherwise the second time, and the checkpoint notices."""
    _, passport = checkpointed_pair("blocks")
    with pytest.raises(CheckpointError):
        passport.private(images()).sum().backward()
    assert_ordinary(passport.host)


def test_a_failed_compiled_call_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    host, x = deterministic("batch2d")
    passport = Passport.issue(host, OWNER, example=x[:2])
    host.compile(backend="eager")

    def failing(*_args: Any) -> None:
        raise RuntimeError("armed")

    monkeypatch.setattr(F, "batch_norm", failing)
    with pytest.raises(RuntimeError, match="armed"):
        passport.private(x)
    assert_ordinary(host)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # inductor's own imports
@pytest.mark.skipif(shutil.which("gcc") is None, reason="inductor needs a C compiler")
def test_inductor_gives_the_private_branch() -> None:
    plain, x = deterministic("batch2d")
    host = copy.deepcopy(plain)
    passport = Passport.issue(host, OWNER, example=x[:2])
    host.compile()
    expected = Passport.issue(plain, OWNER, example=x[:2]).private(x)
    torch.testing.assert_close(passport.private(x), expected, rtol=1e-4, atol=1e-4)
