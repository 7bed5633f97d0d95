"""Bindings found by the trace: never by name, and refused where no weight fits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from modeldeed import Owner, models
from modeldeed.passport import Passport
from tests.passport.hosts import ConvHost, images, make, tokens, transformer


def bound(host: nn.Module, example: object) -> dict[str, tuple[str, int, str]]:
    plan = Passport.plan(host, example=example)
    return {t.norm: (t.weight, t.axis, t.side) for t in plan.targets}


def reasons(host: nn.Module, example: object) -> dict[str, str]:
    return {e.norm: e.reason for e in Passport.plan(host, example=example).left_out}


def test_residual_network_binds_the_convolution_before_each_norm() -> None:
    host = models.resnet18(width=16)
    plan = bound(host, torch.randn(2, 3, 16, 16))
    assert len(plan) == 20
    for norm, (weight, axis, side) in plan.items():
        conv = norm.replace("norm", "conv") if "shortcut" not in norm else norm[:-4] + "conv"
        assert (weight, axis, side) == (f"{conv}.weight", 0, "rows")


def test_pointnet_binds_linear_layers_and_leaves_out_the_thin_first_one() -> None:
    host, x = make("pointnet")
    plan, left = bound(host, x), reasons(host, x)
    assert plan["norm4"] == ("fc1.weight", 0, "rows")
    assert "only 3 weights per channel, fewer than 9" in left["norm1"]
    assert set(left) == {"norm1", "input_transform.norm1"}


def test_post_norm_binds_rows_and_pre_norm_binds_columns() -> None:
    after = bound(transformer(norm_first=False), tokens())
    assert after["layers.0.norm1"] == ("layers.0.self_attn.out_proj.weight", 0, "rows")
    assert after["layers.0.norm2"] == ("layers.0.linear2.weight", 0, "rows")
    before = bound(transformer(norm_first=True), tokens())
    assert before["layers.0.norm1"] == ("layers.0.self_attn.in_proj_weight", 1, "columns")
    assert before["layers.0.norm2"] == ("layers.0.linear1.weight", 1, "columns")


def test_pre_activation_binds_columns_of_the_convolution_behind_the_activation() -> None:
    class PreActivation(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(4)
            self.conv = nn.Conv2d(4, 8, 3)
            self.fc = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.conv(torch.relu(self.norm(x))).mean((2, 3)))

    assert bound(PreActivation(), torch.randn(2, 4, 5, 5)) == {
        "norm": ("conv.weight", 1, "columns")
    }


def test_functional_and_transposed_uses_are_followed() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = nn.Parameter(torch.randn(10, 12))  # input × output, as in some GPTs
            self.up = nn.ConvTranspose2d(3, 6, 3)
            self.norm1 = nn.BatchNorm2d(6)
            self.norm2 = nn.LayerNorm(12)

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm1(self.up(x)).flatten(1)[:, :10]
            return self.norm2(torch.addmm(torch.zeros(12), x, self.kernel)).sum(1)

    plan = bound(Functional(), torch.randn(2, 3, 4, 4))
    assert plan == {"norm1": ("up.weight", 1, "rows"), "norm2": ("kernel", 1, "rows")}


def test_classifier_columns_and_foreign_statistics_are_refused() -> None:
    class OnlyClassifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(12)
            self.fc = nn.Linear(12, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.norm(x))

    assert "no single weight fits" in reasons(OnlyClassifier(), torch.randn(2, 12))["norm"]


def test_two_norms_on_one_weight_share_no_bits() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 12, 3)
            self.norm_a, self.norm_b = nn.BatchNorm2d(12), nn.BatchNorm2d(12)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return self.norm_a(y) * self.norm_b(y)

    host, x = Shared(), torch.randn(2, 2, 6, 6)
    assert set(bound(host, x)) == {"norm_a"}
    assert reasons(host, x)["norm_b"] == "conv.weight already carries the passport of norm_a"


def test_tied_weights_are_reported() -> None:
    host = ConvHost(nn.BatchNorm2d)
    host.alias = nn.Conv2d(2, 12, 3)
    host.alias.weight = host.conv1.weight
    plan = Passport.plan(host, example=images())
    assert plan.planned[0].ties == ("alias.weight",)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_memory_layout_changes_no_binding_and_no_bit(layout: torch.memory_format) -> None:
    host, x = make("batch2d")
    owner = Owner(bytes(32))
    reference = Passport.issue(host, owner, example=x).signature()
    host = host.to(memory_format=layout)
    passport = Passport.issue(host, owner, example=x.to(memory_format=layout))
    found = passport.signature()
    assert found.matches == reference.matches
    for a, b in zip(found.layers, reference.layers, strict=True):
        assert (a.norm, a.weight, a.matches) == (b.norm, b.weight, b.matches)
        assert a.median_margin == pytest.approx(b.median_margin, rel=1e-12)
