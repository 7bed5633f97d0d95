"""The contract of the private branch: (kind of norm × host) × laws."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed import Owner, Passport, TrainingRule
from modeldeed.errors import HostError, PlanError
from tests.passport.hosts import HOSTS, ConvHost, images, make
from tests.passport.oracle import oracle

OWNER = Owner(bytes(range(32)), "tests")
EVERY_HOST = pytest.mark.parametrize("name", list(HOSTS))


def issued(name: str, **rule: object) -> tuple[nn.Module, Tensor, Passport]:
    host, x = make(name)
    passport = Passport.issue(host, OWNER, example=x[:2], training=TrainingRule(**rule))
    return host, x, passport


def snapshot(host: nn.Module) -> dict[str, object]:
    """Everything of a host that must not change."""
    return {
        "keys": list(host.state_dict()),
        "state": {n: t.clone() for n, t in host.state_dict().items()},
        "classes": [type(m) for m in host.modules()],
        "modes": [m.training for m in host.modules()],
        "grad": [p.requires_grad for p in host.parameters()],
        "dtypes": [p.dtype for p in host.parameters()],
        "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in host.modules()],
        "forwards": ["forward" in vars(m) for m in host.modules()],
        "rng": torch.get_rng_state(),
    }


def same(a: object, b: object) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    return a == b


@EVERY_HOST
def test_private_call_leaves_the_host_untouched(name: str) -> None:
    host, x, passport = issued(name)
    for training in (True, False):
        host.train(training)
        before = snapshot(host)
        passport.private(x).sum()
        passport.signature()
        passport.signature_loss()
        assert same(before, snapshot(host))


@EVERY_HOST
def test_planning_and_issuing_leave_the_host_untouched(name: str) -> None:
    host, x = make(name)
    list(host.modules())[-1].eval()  # a mixed mode must come back as it was
    before = snapshot(host)
    Passport.plan(host, example=x[:2])
    Passport.issue(host, OWNER, example=x[:2])
    assert same(before, snapshot(host))


@EVERY_HOST
@pytest.mark.parametrize("training", [True, False])
def test_private_output_equals_the_rebuilt_network(name: str, training: bool) -> None:
    host, x, passport = issued(name, schedule="both")
    for _ in range(2):  # let statistics leave their initial values
        host.train()
        passport.private(x)
    host.train(training)
    for module in host.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # the masks of two forwards differ
    twin = oracle(passport)
    private = passport.joint(x)[1]
    torch.testing.assert_close(private, twin(x), rtol=2e-4, atol=2e-5)
    assert not torch.allclose(private, host(x), atol=1e-2), "the key makes no difference"


@EVERY_HOST
def test_both_public_and_private_gradients_reach_the_weights(name: str) -> None:
    host, x, passport = issued(name)
    public, private = passport.joint(x)
    private.square().mean().backward()
    for target in passport.manifest.anchor.targets:
        gradient = host.get_parameter(target.weight).grad
        assert gradient is not None
        assert float(gradient.abs().sum()) > 0
    assert public.requires_grad


@EVERY_HOST
@pytest.mark.parametrize("schedule", ["pair", "both", "reuse", "alternate"])
def test_public_branch_equals_a_plain_run_bit_for_bit(name: str, schedule: str) -> None:
    host, x, passport = issued(name, schedule=schedule, share=0.25)
    plain = copy.deepcopy(host)
    held_out = x[2:] if schedule == "reuse" else x

    def outcome(model: nn.Module, run: Callable[[], Tensor]) -> dict[str, object]:
        model.train()
        model.zero_grad()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            out = run()
            rng = torch.get_rng_state()
        out.square().mean().backward()
        return {
            "out": out.detach(),
            "grads": {n: p.grad for n, p in model.named_parameters() if p.grad is not None},
            "buffers": dict(model.named_buffers()),
            "rng": rng,
        }

    if schedule == "alternate":  # its first step is a public one
        seen: list[Tensor] = []
        keep = host.register_forward_hook(lambda _m, _i, out: seen.append(out))
        marked = outcome(
            host, lambda: (passport.joint_loss(x, x, loss=lambda o, _: o.sum()), seen[0])[1]
        )
        keep.remove()
    else:
        marked = outcome(host, lambda: passport.joint(x)[0])
    assert same(marked, outcome(plain, lambda: plain(held_out)))


@pytest.mark.parametrize("name", ["batch2d", "resnet", "pointnet", "pre-norm"])
def test_a_step_of_pair_adds_exactly_the_two_other_losses(name: str) -> None:
    host, x, passport = issued(
        name, share=0.5, private_weight=0.7, signature_weight=0.3, interval=2
    )
    host.eval()  # no dropout, so that the parts can be computed one by one
    for module in passport.branch.statistics.values():
        module.var.fill_(2.0)

    def loss(out: Tensor, target: Tensor) -> Tensor:
        return (out.flatten(1).mean(1) - target).square().mean()

    y = torch.linspace(0, 1, len(x))
    half = len(x) // 2
    expected = (
        loss(host(x), y)
        + 0.7 * loss(oracle(passport)(x[:half]), y[:half])
        + 0.3 * passport.signature_loss()
    )
    torch.testing.assert_close(passport.joint_loss(x, y, loss), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(passport.joint_loss(x, y, loss), loss(host(x), y))


class Failing(nn.Module):
    """Raises in forward or in backward once it is armed."""

    armed = ""

    def forward(self, x: Tensor) -> Tensor:
        if self.armed == "forward":
            raise RuntimeError("armed")
        if self.armed == "backward":
            x.register_hook(self._raise)
        return x

    def _raise(self, gradient: Tensor) -> Tensor:
        raise RuntimeError("armed")


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_exceptions_leave_no_trace(where: str) -> None:
    host = ConvHost(nn.BatchNorm2d, inplace=False)
    failing = Failing()
    host.drop = failing
    x = images()
    passport = Passport.issue(host, OWNER, example=x)
    host.train()
    before = snapshot(host)
    failing.armed = where
    with pytest.raises(RuntimeError, match="armed"):
        passport.private(x).sum().backward()
    host.zero_grad()
    assert same(before, snapshot(host))
    failing.armed = ""
    passport.private(x)  # and it works again


def test_planning_restores_modes_when_the_host_raises() -> None:
    host = ConvHost(nn.BatchNorm2d)
    host.drop = failing = Failing()
    failing.armed = "forward"
    host.train()
    before = snapshot(host)
    with pytest.raises(PlanError, match="armed"):
        Passport.plan(host, example=images())
    assert same(before, snapshot(host))


def test_a_skipped_norm_is_refused() -> None:
    class Skipping(ConvHost):
        skip = False

        def forward(self, x: Tensor) -> Tensor:
            if not self.skip:
                return super().forward(x)
            return self.fc(self.conv2(self.act(self.norm1(self.conv1(x)))).mean((2, 3)))

    host = Skipping(nn.BatchNorm2d)
    passport = Passport.issue(host, OWNER, example=images())
    host.skip = True
    with pytest.raises(HostError, match="norm2 ran 0 times"):
        passport.private(images())


def test_a_users_own_instance_forward_and_hooks_survive() -> None:
    host = ConvHost(nn.BatchNorm2d)
    calls: list[tuple[int, ...]] = []
    host.norm1.register_forward_hook(lambda _m, _i, out: calls.append(tuple(out.shape)))
    original = host.norm2.forward
    host.norm2.forward = mine = original  # type: ignore[method-assign]
    x = images()
    passport = Passport.issue(host, OWNER, example=x)
    calls.clear()
    passport.joint(x)
    assert calls == [(8, 12, 6, 6), (8, 12, 6, 6)]  # the hook sees both branches
    assert vars(host.norm2)["forward"] is mine


def test_norms_without_a_passport_keep_their_statistics() -> None:
    host = ConvHost(nn.BatchNorm2d)
    passport = Passport.issue(host, OWNER, example=images(), exclude="norm1")
    host.train()
    before = host.norm1.running_mean.clone(), host.norm1.num_batches_tracked.clone()
    passport.private(images())
    assert torch.equal(before[0], host.norm1.running_mean)
    assert torch.equal(before[1], host.norm1.num_batches_tracked)
    assert not torch.equal(passport.branch.statistics["norm1"].mean, torch.zeros(12))


def test_private_statistics_follow_batch_norms_own_rule() -> None:
    for momentum in (0.1, None):
        host = ConvHost(lambda c, m=momentum: nn.BatchNorm2d(c, momentum=m))
        passport = Passport.issue(host, OWNER, example=images())
        twin = nn.BatchNorm2d(12, momentum=momentum)
        host.train()
        for seed in range(3):
            x = torch.randn(4, 2, 6, 6, generator=torch.Generator().manual_seed(seed))
            passport.private(x)
            twin(host.conv1(x))
        kept = passport.branch.statistics["norm1"]
        torch.testing.assert_close(kept.mean, twin.running_mean)
        torch.testing.assert_close(kept.var, twin.running_var)


def test_autocast_keeps_passport_arithmetic_in_full_precision() -> None:
    _host, x, passport = issued("batch2d")
    exact = passport.branch.readings()
    with torch.autocast("cpu", torch.bfloat16):
        under = passport.branch.readings()
        private = passport.private(x)
    assert all(torch.equal(a, b) for a, b in zip(exact.gamma, under.gamma, strict=True))
    assert private.dtype == torch.bfloat16


def test_a_copy_of_the_host_is_an_ordinary_model() -> None:
    host, x, passport = issued("resnet")
    average = copy.deepcopy(host)  # an EMA copy
    passport.private(x)
    host.eval(), average.eval()
    assert torch.equal(host(x), average(x))
    assert list(average.state_dict()) == list(host.state_dict())


def test_dict_and_tuple_inputs_reach_the_host() -> None:
    class TwoInputs(ConvHost):
        def forward(self, x: Tensor, scale: Tensor) -> dict[str, Tensor]:
            return {"logits": super().forward(x * scale)}

    host, x = TwoInputs(nn.BatchNorm2d), images()
    scale = torch.ones(8, 1, 1, 1)
    for batch in ((x, scale), {"x": x, "scale": scale}):
        passport = Passport.issue(host, OWNER, example=batch)
        loss = passport.joint_loss(
            batch, torch.zeros(8).long(), lambda out, y: F.cross_entropy(out["logits"], y)
        )
        assert torch.isfinite(loss)
        assert passport.joint(batch)[1]["logits"].shape == (8, 5)
