"""Layouts, precisions, containers, inputs and outputs that hosts come with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modeldeed import Owner, Passport
from modeldeed.errors import OptionError
from tests.passport.host.test_bindings import bound
from tests.passport.hosts import HOSTS, ConvHost, images, make, tokens
from tests.passport.oracle import oracle

OWNER = Owner(bytes(range(32)), "tests")


def issued(host: nn.Module, example: Any) -> Passport:
    """A passport whose private output equals the rebuilt network's."""
    passport = Passport.issue(host.eval(), OWNER, example=example)
    with torch.no_grad():
        inputs = (example,) if isinstance(example, Tensor) else example
        private, rebuilt = passport.private(example), oracle(passport)(*inputs)
    torch.testing.assert_close(private, rebuilt, rtol=1e-3, atol=1e-4)
    return passport


class Windows(nn.Module):
    """Windowed attention: windows are folded into the batch before the norm."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(2, 16, 3, padding=1)
        self.norm, self.attention = nn.LayerNorm(16), nn.MultiheadAttention(16, 2, batch_first=True)
        self.norm2, self.fc = nn.LayerNorm(16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        n, c, h, w = x.shape
        x = x.view(n, c, h // 3, 3, w // 3, 3).permute(0, 2, 4, 3, 5, 1).reshape(-1, 9, c)
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return self.fc(torch.relu(self.norm2(x)).reshape(n, -1, c).mean(1))


class FoldedTime(nn.Module):
    """(B, T, …) runs as (B·T, …) through a convolutional part with batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.frames = nn.Sequential(nn.Conv2d(2, 12, 3), nn.BatchNorm2d(12), nn.ReLU())
        self.fc = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.frames(x.flatten(0, 1)).mean((2, 3))
        return self.fc(y.view(*x.shape[:2], -1).mean(1))


def sequence_first() -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, norm_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


class Branches(nn.Module):
    """ModuleDict of ModuleLists, chosen by name in the forward."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(
            {
                name: nn.ModuleList([nn.Linear(16, 24), nn.LayerNorm(24), nn.Linear(24, 16)])
                for name in ("left", "right")
            }
        )
        self.fc = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts.values():
            y = x
            for layer in part:
                y = layer(y)
            x = x + y
        return self.fc(x)


def test_dimensions_folded_into_the_batch() -> None:
    windows = issued(Windows(), images())
    assert bound(windows.host, images())["norm"] == ("embed.weight", 0, "rows")
    issued(FoldedTime(), torch.randn(3, 4, 2, 6, 6))


def test_sequence_first_hosts_bind_alike_and_run_privately() -> None:
    passport = issued(sequence_first(), tokens().transpose(0, 1).contiguous())
    weights = [target.weight for target in passport.branch.targets]
    names = "self_attn.in_proj_weight", "linear1.weight"
    assert weights == [f"layers.{i}.{name}" for i in range(2) for name in names]


def test_containers() -> None:
    plan = bound(Branches(), tokens())
    assert plan == {
        f"parts.{name}.1": (f"parts.{name}.0.weight", 0, "rows") for name in ("left", "right")
    }
    issued(Branches(), tokens())


def test_channels_last() -> None:
    host, x = make("batch2d")
    issued(host.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last))


@pytest.mark.parametrize("name", [name for name in HOSTS if name not in ("resnet", "pointnet")])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_precisions(name: str, dtype: torch.dtype) -> None:
    host, x = make(name)
    reference = bound(host, x)
    host, x = host.to(dtype), x.to(dtype)
    passport = Passport.issue(host, OWNER, example=x)
    assert {t.norm: (t.weight, t.axis, t.side) for t in passport.branch.targets} == reference
    assert passport.private(x).dtype == dtype
    (passport.private(x).float().square().mean() + passport.signature_loss()).backward()


@dataclass
class Result:
    logits: Tensor
    features: list[Tensor]


class ReturnsAnObject(ConvHost):
    def forward(self, x: Tensor) -> Result:
        return Result(super().forward(x), [x])


class ReturnsText(ConvHost):
    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"answer": {"logits": super().forward(x)}, "note": "text", "count": 3}


def test_outputs_are_walked_to_their_tensors() -> None:
    for host in (ReturnsAnObject(nn.BatchNorm2d), ReturnsText(nn.BatchNorm2d)):
        plan = bound(host, images())
        assert set(plan) == {"norm1", "norm2"}
        Passport.issue(host, OWNER, example=images())


def test_inputs_of_every_form() -> None:
    class Several(ConvHost):
        def forward(self, x: Tensor, extra: dict[str, Any], flag: bool = False) -> Tensor:
            return super().forward(x * extra["scale"][0] if flag else x)

    x, extra = images(), {"scale": [torch.tensor(2.0), None]}
    for example in ((x, extra, True), [x, extra], {"x": x, "extra": extra, "flag": True}):
        Passport.issue(Several(nn.BatchNorm2d), OWNER, example=example)
    with pytest.raises(OptionError, match="example is a batch"):
        Passport.plan(Several(nn.BatchNorm2d), example=(None, {"scale": [1.0]}))
