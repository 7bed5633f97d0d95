"""What every network of ``modeldeed.models`` must keep, for every kind of normalization."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from modeldeed import models
from modeldeed.errors import ModelDeedError, OptionError

NORM_TYPES = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.GroupNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
)

# name -> (factory, shape of one batch)
NETWORKS: dict[str, tuple[Callable[..., nn.Module], tuple[int, ...]]] = {
    "alexnet": (models.alexnet, (3, 3, 32, 32)),
    "resnet18": (lambda **options: models.resnet18(width=8, **options), (3, 3, 16, 16)),
    "resnet50": (lambda **options: models.resnet50(width=4, **options), (3, 3, 16, 16)),
    "resnet_small": (models.resnet_small, (3, 1, 8, 8)),
    "vgg16": (lambda **options: models.vgg16(width=4, **options), (3, 3, 32, 32)),
    "mobilenet_v2": (lambda **options: models.mobilenet_v2(width=0.25, **options), (3, 3, 16, 16)),
    "pointnet": (models.pointnet, (3, 24, 3)),
}

every_network = pytest.mark.parametrize("network", NETWORKS)
every_norm = pytest.mark.parametrize("norm", models.NORM_KINDS)


def build(network: str, seed: int = 0, **options: object) -> tuple[nn.Module, Tensor]:
    factory, shape = NETWORKS[network]
    torch.manual_seed(seed)
    net = factory(**options)
    for module in net.modules():
        if isinstance(module, nn.Linear):
            # Away from zero, where the T-Nets start and pass no gradient on.
            nn.init.normal_(module.weight, std=0.05)
    return net, torch.rand(shape)


def norms(net: nn.Module) -> dict[str, nn.Module]:
    return {name: m for name, m in net.named_modules() if isinstance(m, NORM_TYPES)}


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def capacity(net: nn.Module) -> list[int]:
    return [module.weight.numel() for module in norms(net).values()]


def test_alexnet_has_the_published_size() -> None:
    net = models.alexnet()
    assert parameters(net) == 2_493_386
    assert capacity(net) == [64, 192, 384, 256, 256]
    assert sum(capacity(net)) == 1_152


def test_resnet18_has_the_published_size() -> None:
    net = models.resnet18()
    assert parameters(net) == 11_173_962
    assert len(capacity(net)) == 20
    assert sum(capacity(net)) == 4_800


@pytest.mark.parametrize(
    ("factory", "count", "channels"),
    [(models.resnet50, 53, 26_560), (models.vgg16, 13, 4_224), (models.mobilenet_v2, 52, 17_056)],
)
def test_number_of_norms_and_of_their_channels(
    factory: Callable[..., nn.Module], count: int, channels: int
) -> None:
    with torch.device("meta"):
        found = capacity(factory())
    assert (len(found), sum(found)) == (count, channels)


def test_resnet_small_has_720_norm_channels() -> None:
    net = models.resnet_small()
    assert len(capacity(net)) == 12
    assert sum(capacity(net)) == 720


def test_pointnet_trunk_and_transforms_have_as_many_norm_channels_each() -> None:
    net = models.pointnet()
    assert sum(capacity(net.input_transform)) == 1_984
    assert sum(capacity(net.feature_transform)) == 1_984
    assert sum(capacity(net)) == 3 * 1_984


@every_norm
@every_network
def test_output_is_one_row_of_finite_logits_per_sample(network: str, norm: str) -> None:
    net, x = build(network, norm=norm, num_classes=7)
    for mode in (True, False):
        logits = net.train(mode)(x)
        assert logits.shape == (len(x), 7)
        assert logits.dtype == torch.float32
        assert logits.isfinite().all()


@every_norm
@every_network
def test_one_forward_calls_every_norm_exactly_once(network: str, norm: str) -> None:
    net, x = build(network, norm=norm)
    calls = dict.fromkeys(norms(net), 0)
    assert calls
    for name, module in norms(net).items():
        module.register_forward_hook(lambda *_, name=name: calls.__setitem__(name, calls[name] + 1))
    net(x)
    assert set(calls.values()) == {1}


@every_norm
@every_network
def test_every_norm_has_a_scale_and_a_bias_per_channel(network: str, norm: str) -> None:
    net, _ = build(network, norm=norm)
    for module in norms(net).values():
        assert module.weight.shape == module.bias.shape
        assert module.weight.requires_grad
        assert module.bias.requires_grad


@every_norm
@every_network
def test_every_parameter_receives_a_gradient(network: str, norm: str) -> None:
    net, x = build(network, norm=norm)
    net(x).square().sum().backward()
    missing = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []


@every_network
def test_the_capacity_does_not_depend_on_the_norm(network: str) -> None:
    sizes = {kind: capacity(build(network, norm=kind)[0]) for kind in models.NORM_KINDS}
    assert len({tuple(size) for size in sizes.values()}) == 1


@every_norm
@every_network
def test_state_dict_carries_the_whole_network_and_no_weight_twice(network: str, norm: str) -> None:
    net, x = build(network, norm=norm)
    net(x)  # moves running statistics, where there are any
    state = net.state_dict()
    assert len({tensor.data_ptr() for tensor in state.values()}) == len(state)
    other, _ = build(network, seed=1, norm=norm)
    assert not torch.equal(other.eval()(x), net.eval()(x))
    other.load_state_dict(state, strict=True)
    assert torch.equal(other(x), net(x))


@every_network
def test_deep_copy_is_independent_and_equal(network: str) -> None:
    net, x = build(network)
    before = net.eval()(x)
    twin = copy.deepcopy(net)
    assert torch.equal(twin(x), before)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1)
    assert not torch.equal(twin(x), before)
    assert torch.equal(net(x), before)


@every_network
def test_the_same_seed_builds_the_same_network(network: str) -> None:
    (first, x), (second, _) = build(network), build(network)
    assert torch.equal(first.eval()(x), second.eval()(x))


@every_network
def test_a_network_moves_to_another_precision(network: str) -> None:
    net, x = build(network)
    assert net.double()(x.double()).dtype == torch.float64


@every_network
def test_an_unknown_norm_is_refused_with_the_choices(network: str) -> None:
    with pytest.raises(OptionError, match=r"'weight'.*'batch', 'group', 'instance', 'layer'") as e:
        build(network, norm="weight")
    assert isinstance(e.value, ModelDeedError)
    assert isinstance(e.value, ValueError)


@pytest.mark.parametrize(
    ("factory", "keys"),
    [
        (models.alexnet, ["conv1.weight", "norm1.weight", "norm5.running_var", "classifier.bias"]),
        (models.resnet18, ["stem.norm.bias", "stages.1.0.shortcut.conv.weight"]),
        (models.resnet50, ["stem.norm.bias", "stages.1.0.conv3.weight", "stages.3.2.norm3.weight"]),
        (models.vgg16, ["blocks.0.0.conv.weight", "blocks.4.2.norm.bias", "classifier.weight"]),
        (models.mobilenet_v2, ["stages.1.0.expand.conv.weight", "stages.6.0.project.norm.bias"]),
        (models.resnet_small, ["stages.3.0.conv2.weight", "stages.3.0.norm2.running_mean"]),
        (models.pointnet, ["input_transform.conv1.weight", "norm3.weight", "fc1.weight"]),
    ],
)
def test_state_dict_keys_say_what_they_hold(
    factory: Callable[[], nn.Module], keys: list[str]
) -> None:
    state = factory().state_dict()
    assert set(keys) <= set(state)


@pytest.mark.parametrize(
    ("factory", "channels"),
    [
        (models.alexnet, 1),
        (models.resnet18, 4),
        (models.resnet50, 1),
        (models.resnet_small, 3),
        (models.vgg16, 1),
        (models.mobilenet_v2, 6),
    ],
)
def test_the_first_convolution_takes_the_channels_asked_for(
    factory: Callable[..., nn.Module], channels: int
) -> None:
    with torch.device("meta"):
        net = factory(in_channels=channels, num_classes=2)
    assert next(net.parameters()).shape[1] == channels


def test_public_names() -> None:
    assert models.__all__ == [
        "IMAGE_FORMS",
        "NORM_KINDS",
        "VGG",
        "AlexNet",
        "ImageForm",
        "MobileNetV2",
        "NormKind",
        "PointNet",
        "ResNet",
        "alexnet",
        "make_norm",
        "mobilenet_v2",
        "orthogonality",
        "pointnet",
        "resnet18",
        "resnet50",
        "resnet_small",
        "vgg16",
    ]
    assert all(hasattr(models, name) for name in models.__all__)
