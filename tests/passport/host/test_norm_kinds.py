"""Norms of other libraries: the laws of a kind, and refusals with a reason.

timm and detectron2 cannot be had here; their layers are stood in for by classes of the same
structure (same parent, same tensors, same forward).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed import Owner, Passport, TrainingRule
from modeldeed.errors import PlanError
from modeldeed.passport.norms.registry import RunningStatistics, kind_of, tracks_statistics
from tests.passport.hosts import ChannelsLast, ConvHost, images
from tests.passport.oracle import oracle
from tests.passport.private.test_laws import same, snapshot

OWNER = Owner(bytes(range(32)), "tests")


class LlamaRMSNorm(nn.Module):
    """As in transformers: float32 inside, the scale applied in the input's precision."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.variance_epsilon = 1e-6

    def forward(self, hidden_states: Tensor) -> Tensor:
        x = hidden_states.to(torch.float32)
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * x.to(hidden_states.dtype)


class GemmaRMSNorm(nn.Module):
    """As in transformers: the scale is an offset from 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.eps = 1e-6
        self.weight = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + self.eps)
        return (y * (1.0 + self.weight.float())).type_as(x)


class LayerNorm2d(nn.LayerNorm):
    """As in timm and ConvNeXt: channels first."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class FrozenBatchNorm2d(nn.Module):
    """As in torchvision and detectron2: buffers only."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.eps = 1e-5
        self.register_buffer("weight", torch.ones(num_features))
        self.register_buffer("bias", torch.zeros(num_features))
        self.register_buffer("running_mean", torch.rand(num_features) - 0.5)
        self.register_buffer("running_var", torch.rand(num_features) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        bias = self.bias - self.running_mean * scale
        return x * scale.reshape(1, -1, 1, 1) + bias.reshape(1, -1, 1, 1)


class BatchNormAct2d(nn.BatchNorm2d):
    """As in timm: drop and activation inside, the class names its parent's forward no more."""

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features)
        self.drop, self.act = nn.Identity(), nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        x = F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias,
            self.training, self.momentum, self.eps,
        )  # fmt: skip
        return self.act(self.drop(x))


class GroupNormAct(nn.GroupNorm):
    """As in timm."""

    def __init__(self, num_channels: int) -> None:
        super().__init__(4, num_channels)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps))


BatchNormAct2d.__module__ = GroupNormAct.__module__ = "timm.layers.norm_act"

KINDS: dict[str, tuple[Callable[[int], nn.Module], str]] = {
    "llama": (lambda c: ChannelsLast(LlamaRMSNorm(c)), "own-forward"),
    "layer-norm-2d": (LayerNorm2d, "own-forward"),
    "frozen": (FrozenBatchNorm2d, "frozen-batch"),
    "timm-batch": (BatchNormAct2d, "own-forward"),
    "timm-group": (GroupNormAct, "own-forward"),
    "synchronized": (nn.SyncBatchNorm, "batch"),
}
EVERY_KIND = pytest.mark.parametrize("name", list(KINDS))


def host_of(norm: Callable[[int], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        host = ConvHost(norm)
        host.drop.p = 0.0
        for module in host.modules():
            weight = getattr(module, "weight", None)
            if isinstance(weight, Tensor) and weight.dim() == 1:
                nn.init.uniform_(weight, 0.5, 1.5)
                weight.data[::3] *= -1
    return host


@EVERY_KIND
@pytest.mark.parametrize("training", [False, True])
def test_private_output_equals_the_rebuilt_network(name: str, training: bool) -> None:
    build, kind = KINDS[name]
    host, x = host_of(build), images()
    passport = Passport.issue(host, OWNER, example=x)
    assert [t.kind for t in passport.branch.targets] == [kind, kind]
    host.train()
    passport.private(x)  # statistics leave their first values
    host.train(training)
    before = snapshot(host)
    twin = oracle(passport)
    private = passport.private(x)
    assert same(before, snapshot(host))
    torch.testing.assert_close(private, twin(x), rtol=2e-4, atol=2e-5)
    assert not torch.allclose(private, host(x), atol=1e-2)


@EVERY_KIND
def test_with_its_own_tensors_a_kind_does_what_the_layer_does(name: str) -> None:
    norm = next(m for m in host_of(KINDS[name][0]).modules() if kind_of(m) and hasattr(m, "weight"))
    kind = kind_of(norm)
    assert kind is not None
    shape = (4, 5, 6, 12) if name == "llama" else (4, 12, 5, 6)
    for training in (False, True):
        norm.train(training)
        before = {n: t.clone() for n, t in norm.state_dict().items()}
        x = torch.randn(shape, generator=torch.Generator().manual_seed(2))
        statistics = RunningStatistics.like(norm) if tracks_statistics(norm) else None
        private = kind.apply(norm, x, norm.weight, getattr(norm, "bias", None), statistics)
        assert same(before, dict(norm.state_dict())), "the private call reached the layer"
        assert torch.equal(private, norm(x))
        if statistics is not None:
            torch.testing.assert_close(statistics.mean, norm.running_mean)
            torch.testing.assert_close(statistics.var, norm.running_var)
            assert statistics.count == training


def test_a_fused_activation_is_not_dropped() -> None:
    host, x = host_of(BatchNormAct2d), images()
    passport = Passport.issue(host, OWNER, example=x)
    seen: list[Tensor] = []
    host.norm1.register_forward_hook(lambda _m, _i, out: seen.append(out))
    passport.private(x)
    assert float(seen[0].detach().min()) > -0.279  # SiLU's minimum; the norm alone goes below -1


def test_an_average_without_momentum_is_kept_by_the_layers_own_rule() -> None:
    norm = nn.SyncBatchNorm(3, momentum=None)
    kind, statistics = kind_of(norm), RunningStatistics.like(norm)
    assert kind is not None
    for seed in range(3):
        x = torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(seed))
        kind.apply(norm, x, norm.weight, norm.bias, statistics)
        norm(x)
    torch.testing.assert_close(statistics.mean, norm.running_mean)
    assert statistics.count == 3


@pytest.fixture
def process_group(tmp_path: object) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_synchronized_statistics_take_the_layers_own_way(process_group: None) -> None:
    """Under a process group the layer refuses what it cannot synchronize; so must the private call.

    F.batch_norm in its place would go on with statistics of one process only.
    """
    norm = nn.SyncBatchNorm(3).train()
    kind, x = kind_of(norm), torch.randn(6, 3, 4)
    assert kind is not None
    outcomes = []
    for run in (
        lambda: norm(x),
        lambda: kind.apply(norm, x, norm.weight, norm.bias, RunningStatistics.like(norm)),
    ):
        try:
            run()
            outcomes.append("ran")
        except ValueError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]
    assert "expected input tensor to be on" in outcomes[0]


def reason(norm: nn.Module) -> str:
    host = nn.Sequential(nn.Linear(12, 16), norm, nn.Linear(16, 3))
    (left,) = Passport.plan(host, example=torch.randn(4, 12)).left_out
    return left.reason


class GatedRMSNorm(LlamaRMSNorm):
    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        return super().forward(x) * torch.sigmoid(x if gate is None else gate)


class Gated(nn.Module):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x, x)


class UnsignedNorm(LlamaRMSNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.weight.sign()


class SteppingNorm(LlamaRMSNorm):
    steps = 0

    def forward(self, x: Tensor) -> Tensor:
        SteppingNorm.steps += 1
        return super().forward(x) * SteppingNorm.steps


class BiasFreeNorm(LayerNorm2d):
    """Channels first and without a bias: nobody says where a private one would go."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, bias=False)
        del self._parameters["bias"]
        self.bias = None


@pytest.mark.parametrize(
    ("norm", "told"),
    [
        (GemmaRMSNorm(16), r"\(1 \+ weight\?\)"),
        (UnsignedNorm(16), "not depend on the sign of its scale"),
        (SteppingNorm(16), "more than its input, scale and bias"),
        (Gated(GatedRMSNorm(16)), "called with more than its input"),
    ],
)
def test_a_layer_that_only_looks_like_a_norm_is_refused(norm: nn.Module, told: str) -> None:
    assert re.search(told, reason(norm))


def test_a_norm_without_bias_must_have_its_channels_last() -> None:
    host = ConvHost(BiasFreeNorm)
    left = Passport.plan(host, example=images()).left_out
    assert "no bias, and its channels are not the last dimension" in left[0].reason


def test_statistics_of_an_unknown_rule_refuse_the_host() -> None:
    class OtherBatchNorm(BatchNormAct2d):
        pass

    OtherBatchNorm.forward = BatchNormAct2d.forward
    OtherBatchNorm.__module__ = "somewhere.else"
    with pytest.raises(PlanError, match=r"norm1 \(OtherBatchNorm\): .*register_norm"):
        Passport.issue(ConvHost(OtherBatchNorm), OWNER, example=images())


def test_frozen_statistics_are_shared_and_never_change() -> None:
    host, x = host_of(FrozenBatchNorm2d), images()
    passport = Passport.issue(host, OWNER, example=x)
    assert passport.branch.statistics == {}
    host.train()
    passport.joint_loss(x, torch.zeros(8).long()).backward()
    assert host.conv1.weight.grad is not None


def test_batch_norms_kept_in_eval_mode_keep_their_statistics_in_both_branches() -> None:
    """Fine-tuning with frozen batch norms: eval mode in training, parameters without gradient."""
    host, x = host_of(nn.BatchNorm2d), images()
    for norm in (host.norm1, host.norm2):
        nn.init.uniform_(norm.running_mean, -0.5, 0.5)
        norm.requires_grad_(False)
    passport = Passport.issue(host, OWNER, example=x, training=TrainingRule(interval=1))
    host.train()
    host.norm1.eval(), host.norm2.eval()
    kept = copy.deepcopy(dict(host.named_buffers()))
    passport.joint_loss(x, torch.zeros(8).long()).backward()
    assert same(kept, dict(host.named_buffers()))
    assert torch.equal(passport.branch.statistics["norm1"].mean, host.norm1.running_mean)
    assert host.norm1.weight.grad is None
    assert host.conv1.weight.grad is not None
