"""Mixed precision, gradient accumulation, gradient scaling, averaged and copied hosts."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from modeldeed import Owner, Passport, TrainingRule
from modeldeed.errors import HostError
from tests.passport.hosts import ConvHost, images, make
from tests.passport.oracle import oracle

OWNER = Owner(bytes(range(32)))
DTYPES = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])


def issued(name: str, **rule: Any) -> tuple[nn.Module, Tensor, Passport]:
    host, x = make(name)
    for module in host.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    passport = Passport.issue(host, OWNER, example=x[:2], training=TrainingRule(**rule))
    return host, x, passport


def gradients(host: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in host.named_parameters() if p.grad is not None}


# Autocast


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # torch's RMSNorm
@DTYPES
@pytest.mark.parametrize("name", ["batch2d", "group", "layer", "rms", "instance2d", "pre-norm"])
def test_under_autocast_the_private_branch_is_the_rebuilt_network(
    name: str, dtype: torch.dtype
) -> None:
    host, x, passport = issued(name)
    host.eval()
    exact, twin = passport.private(x), oracle(passport)
    with torch.autocast("cpu", dtype):
        private, rebuilt, plain = passport.private(x), twin(x), host(x)
    assert private.dtype == plain.dtype
    # Both round, at different places; each is as far from full precision as the other.
    scale = float(exact.detach().abs().max())
    tolerance = 8 * torch.finfo(dtype).eps * scale
    torch.testing.assert_close(private.float(), rebuilt.float(), rtol=0, atol=tolerance)
    torch.testing.assert_close(private.float(), exact, rtol=0, atol=tolerance)


@DTYPES
@pytest.mark.parametrize("early", [True, False])
def test_the_signature_is_computed_in_full_precision(dtype: torch.dtype, early: bool) -> None:
    """Its gradient under autocast is that without, bit for bit."""
    found = []
    for enabled in (False, True):
        host, x, passport = issued("group", interval=1, private_weight=0.0, early=early)
        with torch.autocast("cpu", dtype, enabled=enabled):
            loss = passport.joint_loss(x, torch.zeros(8).long(), lambda out, _: out.sum() * 0)
        loss.backward()
        found.append(gradients(host))
    assert float(found[0]["conv1.weight"].abs().sum()) > 0
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)


@pytest.mark.parametrize("early", [True, False])
def test_a_scaled_loss_scales_the_private_gradients_alike(early: bool) -> None:
    """As a GradScaler does: in float16 small private gradients must not vanish before it."""
    host, x, passport = issued("group", interval=1, early=early)
    y = torch.arange(8) % 5

    def step(dtype: torch.dtype | None, scale: float) -> dict[str, Tensor]:
        host.zero_grad()
        with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
            # A loss so small that its gradients are below what float16 can hold.
            loss = passport.joint_loss(x, y, lambda out, y: 1e-6 * F.cross_entropy(out, y))
        (loss * scale).backward()
        return {name: gradient / scale for name, gradient in gradients(host).items()}

    passport.training = TrainingRule(interval=1, early=early, signature_weight=0.0)
    exact, scaled = step(None, 1.0), step(torch.float16, 2.0**16)
    lost = step(torch.float16, 1.0)  # what scaling after the rounding would give

    def error(found: dict[str, Tensor]) -> float:
        return max(float((found[n] - g).norm() / g.norm()) for n, g in exact.items())

    assert error(scaled) < 0.05
    assert error(lost) > 0.5


# Accumulation


@pytest.mark.parametrize("early", [True, False])
def test_small_batches_accumulate_to_the_gradient_of_a_large_one(early: bool) -> None:
    found = []
    for parts in (1, 4):
        host, x, passport = issued("group", interval=1, share=1.0, early=early)
        y = torch.arange(8) % 5
        for part, target in zip(x.chunk(parts), y.chunk(parts), strict=True):
            (passport.joint_loss(part, target) / parts).backward()
        assert passport.steps == parts
        found.append(gradients(host))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-6)


def test_the_optimizer_holds_the_hosts_parameters_and_nothing_else() -> None:
    host, x, passport = issued("batch2d", interval=1)
    optimizer = torch.optim.AdamW([*host.parameters(), *passport.parameters()])
    passport.joint_loss(x, torch.arange(8) % 5).backward()
    optimizer.step()
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert [id(p) for p in held] == [id(p) for p in host.parameters()]
    assert set(optimizer.state) == {p for p in host.parameters() if p.grad is not None}
    plain, _ = make("batch2d")
    other = torch.optim.AdamW(plain.parameters())
    other.load_state_dict(optimizer.state_dict())  # an ordinary one


# Averages and copies


def test_an_average_of_weights_is_an_ordinary_model_with_the_passport() -> None:
    host, x, passport = issued("batch2d", interval=1)
    average = AveragedModel(host, multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=True)
    optimizer = torch.optim.SGD(host.parameters(), lr=0.1)
    host.train()
    for _ in range(3):
        optimizer.zero_grad()
        passport.joint_loss(x, torch.arange(8) % 5).backward()
        optimizer.step()
        average.update_parameters(host)
    assert not any("forward" in vars(module) for module in average.modules())
    assert list(average.module.state_dict()) == list(host.state_dict())

    marked = passport.on(average.module)
    for model in (host, average):
        model.eval()
    assert not torch.allclose(marked.private(x), passport.private(x))
    torch.testing.assert_close(marked.private(x), oracle(marked)(x), rtol=2e-4, atol=2e-5)
    assert marked.signature().matches > 0
    assert marked.steps == passport.steps
    assert marked.manifest is passport.manifest


def test_a_passport_on_another_instance_goes_its_own_way() -> None:
    host, x = make("batch2d")
    passport = Passport.issue(host, OWNER, example=x, head="learned")
    host.train()
    passport.private(x)
    twin = passport.on(copy.deepcopy(host))
    host.eval(), twin.host.eval()
    torch.testing.assert_close(twin.private(x), passport.private(x))
    before = passport.private(x)
    twin.host.train()
    twin.private(x)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1.0)
    assert torch.equal(passport.private(x), before)
    with pytest.raises(HostError, match="has no norm1"):
        passport.on(nn.Linear(2, 2))


@pytest.mark.parametrize("make_copy", [copy.deepcopy, lambda p: p.on(copy.deepcopy(p.host))])
def test_a_deep_copy_has_a_host_of_its_own(make_copy: Callable[[Passport], Passport]) -> None:
    host, x, passport = issued("batch2d")
    host.train()
    passport.private(x)
    host.eval()
    twin = make_copy(passport)
    assert twin.host is not host
    assert torch.equal(twin.private(x), passport.private(x))
    with torch.no_grad():
        twin.host.conv1.weight.mul_(-1)
    assert not torch.allclose(twin.private(x), passport.private(x))


def test_host_and_passport_in_one_structure_stay_together() -> None:
    host, _, passport = issued("batch2d")
    trainer = copy.deepcopy({"model": host, "passport": passport})
    assert trainer["passport"].host is trainer["model"]


def test_a_passport_is_not_pickled() -> None:
    passport = issued("batch2d")[2]
    with pytest.raises(TypeError, match=r"see Passport.save"):
        pickle.dumps(passport)
    pickle.dumps(passport.host)  # the host is an ordinary model


def test_copies_taken_in_the_middle_of_training_share_nothing() -> None:
    host = ConvHost(lambda c: nn.GroupNorm(4, c))
    passport = Passport.issue(host, OWNER, example=images(2))
    loss = passport.joint_loss(images(), torch.arange(8) % 5)
    average = copy.deepcopy(host)  # between forward and backward
    loss.backward()
    assert not any("forward" in vars(module) for module in average.modules())
    host.eval(), average.eval()
    assert torch.equal(host(images()), average(images()))
