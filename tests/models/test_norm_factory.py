"""The factory that builds every normalization layer."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from modeldeed.errors import OptionError
from modeldeed.models import NORM_KINDS, make_norm

SHAPES = {0: (5, 8), 1: (5, 8, 6), 2: (5, 8, 4, 4)}


@pytest.mark.parametrize(
    ("kind", "dims", "expected"),
    [
        ("batch", 0, nn.BatchNorm1d),
        ("batch", 1, nn.BatchNorm1d),
        ("batch", 2, nn.BatchNorm2d),
        ("group", 0, nn.GroupNorm),
        ("group", 2, nn.GroupNorm),
        ("instance", 0, nn.GroupNorm),
        ("instance", 1, nn.InstanceNorm1d),
        ("instance", 2, nn.InstanceNorm2d),
        ("layer", 1, nn.GroupNorm),
    ],
)
def test_class_of_each_kind(kind: str, dims: int, expected: type) -> None:
    assert type(make_norm(kind, 8, dims)) is expected


@pytest.mark.parametrize("dims", SHAPES)
@pytest.mark.parametrize("kind", NORM_KINDS)
def test_scale_and_bias_act_per_channel(kind: str, dims: int) -> None:
    norm = make_norm(kind, 8, dims)
    x = torch.randn(SHAPES[dims])
    plain = norm(x)
    scale, bias = torch.randn(8), torch.randn(8)
    with torch.no_grad():
        norm.weight.copy_(scale)
        norm.bias.copy_(bias)
    per_channel = (-1,) + (1,) * dims
    torch.testing.assert_close(norm(x), plain * scale.view(per_channel) + bias.view(per_channel))


@given(st.integers(1, 4096))
def test_groups_divide_the_channels_and_keep_at_least_four_in_each(channels: int) -> None:
    groups = make_norm("group", channels, 2).num_groups
    assert channels % groups == 0
    assert groups <= 32
    assert groups == 1 or channels // groups >= 4


@pytest.mark.parametrize(
    ("channels", "groups"), [(3, 1), (16, 4), (64, 16), (128, 32), (192, 32), (1024, 32)]
)
def test_number_of_groups(channels: int, groups: int) -> None:
    assert make_norm("group", channels, 1).num_groups == groups


def test_layer_norm_on_vectors_is_torchs_layer_norm() -> None:
    x = torch.randn(5, 12)
    torch.testing.assert_close(make_norm("layer", 12, 0)(x), nn.LayerNorm(12)(x))


def test_instance_norm_on_vectors_keeps_information() -> None:
    # torch's InstanceNorm1d would treat (N, C) as one sample of N channels, or give all zeros.
    x = torch.randn(5, 12)
    y = make_norm("instance", 12, 0)(x)
    assert torch.equal(y.argsort(dim=1), x.argsort(dim=1))


def test_unknown_kind() -> None:
    with pytest.raises(OptionError, match="norm: got 'weight'"):
        make_norm("weight", 8, 2)
