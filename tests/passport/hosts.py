"""Small hosts of every kind, shared by the contract tests."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from modeldeed import models


class ConvHost(nn.Module):
    """Conv, norm, activation, dropout, conv, norm, pool, classifier, with any norm."""

    def __init__(self, norm: Callable[[int], nn.Module], inplace: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 12, 3, padding=1)
        self.norm1 = norm(12)
        self.act = nn.ReLU(inplace=inplace)
        self.drop = nn.Dropout(0.3)
        self.conv2 = nn.Conv2d(12, 20, 3, padding=1, bias=False)
        self.norm2 = norm(20)
        self.fc = nn.Linear(20, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.act(self.norm1(self.conv1(x))))
        x = self.act(self.norm2(self.conv2(x)))
        return self.fc(x.mean((2, 3)))


class ChannelsLast(nn.Module):
    """A norm over the last dimension inside a convolutional host, as in ConvNeXt."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def sequence(module: Callable[..., nn.Module], dims: int) -> nn.Module:
    """Convolutions of another dimension with their batch or instance norm."""
    conv = {1: nn.Conv1d, 3: nn.Conv3d}[dims]
    return nn.Sequential(
        conv(2, 10, 3, padding=1), module(10), nn.ReLU(), conv(10, 14, 3), module(14),
        nn.Flatten(2), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(14, 5),
    )  # fmt: skip


def transformer(norm_first: bool) -> nn.Module:
    layer = nn.TransformerEncoderLayer(
        16, 2, 32, dropout=0.1, batch_first=True, norm_first=norm_first
    )
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def images(n: int = 8) -> Tensor:
    return torch.randn(n, 2, 6, 6, generator=torch.Generator().manual_seed(5))


def tokens(n: int = 8) -> Tensor:
    return torch.randn(n, 4, 16, generator=torch.Generator().manual_seed(6))


def volume(dims: int, n: int = 8) -> Tensor:
    return torch.randn(n, 2, *[5] * dims, generator=torch.Generator().manual_seed(7))


def digits_like(n: int = 8) -> Tensor:
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(8))


def clouds(n: int = 8) -> Tensor:
    return torch.randn(n, 24, 3, generator=torch.Generator().manual_seed(9))


def spectral() -> nn.Module:
    """A host with buffers of its own that change in every training forward."""
    host = ConvHost(nn.BatchNorm2d)
    nn.utils.parametrizations.spectral_norm(host.fc)
    return host


# name → (host, batch); every kind of norm, affine or not, tracking or not.
HOSTS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "batch2d": (lambda: ConvHost(nn.BatchNorm2d), images),
    "batch2d-average": (lambda: ConvHost(lambda c: nn.BatchNorm2d(c, momentum=None)), images),
    "batch2d-plain": (lambda: ConvHost(lambda c: nn.BatchNorm2d(c, affine=False)), images),
    "batch2d-no-statistics": (
        lambda: ConvHost(lambda c: nn.BatchNorm2d(c, track_running_stats=False)),
        images,
    ),
    "group": (lambda: ConvHost(lambda c: nn.GroupNorm(4, c)), images),
    "group-plain": (lambda: ConvHost(lambda c: nn.GroupNorm(2, c, affine=False)), images),
    "instance2d": (lambda: ConvHost(lambda c: nn.InstanceNorm2d(c, affine=True)), images),
    "instance2d-tracking": (
        lambda: ConvHost(lambda c: nn.InstanceNorm2d(c, affine=True, track_running_stats=True)),
        images,
    ),
    "instance2d-plain": (lambda: ConvHost(nn.InstanceNorm2d), images),
    "layer": (lambda: ConvHost(lambda c: ChannelsLast(nn.LayerNorm(c))), images),
    "layer-no-bias": (
        lambda: ConvHost(lambda c: ChannelsLast(nn.LayerNorm(c, bias=False))),
        images,
    ),
    "rms": (lambda: ConvHost(lambda c: ChannelsLast(nn.RMSNorm(c))), images),
    "batch1d": (lambda: sequence(nn.BatchNorm1d, 1), lambda: volume(1)),
    "batch3d": (lambda: sequence(nn.BatchNorm3d, 3), lambda: volume(3)),
    "instance1d": (lambda: sequence(nn.InstanceNorm1d, 1), lambda: volume(1)),
    "instance3d": (lambda: sequence(nn.InstanceNorm3d, 3), lambda: volume(3)),
    "spectral-norm": (spectral, images),
    "resnet": (models.resnet_small, digits_like),
    "pointnet": (lambda: models.pointnet(num_classes=5), clouds),
    "post-norm": (lambda: transformer(norm_first=False), tokens),
    "pre-norm": (lambda: transformer(norm_first=True), tokens),
}


def make(name: str, seed: int = 0) -> tuple[nn.Module, Tensor]:
    """A host with seeded, non-trivial weights and its batch."""
    build, batch = HOSTS[name]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        host = build()
        for parameter in host.parameters():
            if not parameter.any():  # alignment nets start at identity and pass no gradient
                nn.init.normal_(parameter, std=0.02)
        for module in host.modules():
            weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
            if "Norm" in type(module).__name__ and isinstance(weight, Tensor):
                nn.init.uniform_(weight, 0.5, 1.5)
                weight.data[::3] *= -1
                if isinstance(bias, Tensor):
                    nn.init.normal_(bias, std=0.2)
    return host, batch()
