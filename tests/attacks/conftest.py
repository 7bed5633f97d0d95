"""A small network and data to attack, and other networks that attacks must fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from modeldeed.attacks import AttackData
from modeldeed.data import Dataset, load
from modeldeed.training import Recipe, accuracy, train


def small_model() -> nn.Module:
    """Convolutions of every kind that matters, norms, dropout, a shared layer, a classifier."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shared = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        model = nn.Sequential(
            nn.Conv2d(2, 8, 3, padding=1, stride=2, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding="same", padding_mode="reflect", groups=4),
            nn.ReLU(),
            shared,
            nn.BatchNorm2d(8, momentum=0.3),
            shared,
            nn.Dropout(0.3),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(32, 3),
        )
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class SmallTransformer(nn.Module):
    """Rows of a picture as tokens, through one of torch's own encoder layers."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.embed = nn.Linear(16, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.classifier = nn.Linear(16, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x.transpose(1, 2).flatten(2))
        found: Tensor = self.classifier(self.norm(self.layer(tokens)).mean(1))
        return found


class SmallPoints(nn.Module):
    """The layers of a PointNet, without its transforms."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(3, 12, 1, bias=False)
        self.norm1 = nn.BatchNorm1d(12)
        self.conv2 = nn.Conv1d(12, 16, 1)
        self.norm2 = nn.BatchNorm1d(16)
        self.fc = nn.Linear(16, 8)
        self.classifier = nn.Linear(8, classes)

    def forward(self, points: Tensor) -> Tensor:
        x = self.norm1(self.conv1(points.transpose(1, 2))).relu()
        x = self.norm2(self.conv2(x)).amax(2).relu()
        found: Tensor = self.classifier(self.fc(x).relu())
        return found


def small_data(classes: int = 3) -> Dataset:
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(48) % classes
    x = torch.rand(48, 2, 8, 8, generator=generator) / 2 + (y[:, None, None, None] / classes) / 2
    names = tuple("abcdefgh"[:classes])
    return Dataset(name="small", x_train=x, y_train=y, x_test=x[:12], y_test=y[:12], classes=names)


def small_points() -> Dataset:
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(48) % 3
    x = torch.randn(48, 10, 3, generator=generator) * (1 + y[:, None, None])
    return Dataset(
        name="points", x_train=x, y_train=y, x_test=x[:12], y_test=y[:12], classes=("a", "b", "c")
    )


def other_network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(128, 16), nn.ReLU(), nn.Linear(16, 3))


def full_data() -> AttackData:
    """Everything that an attack on the small model may need."""
    other = small_model().eval()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5).add_(0.01)
    others = replace(small_data(5), name="other")
    return AttackData(
        small_data(), other_data=others, other_model=other, other_architecture=other_network
    )


def seeded(build, *arguments) -> nn.Module:
    """A network made from seed 0, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = build(*arguments)
    return model.eval()


class DigitNet(nn.Module):
    """Three convolutions with norms for pictures of 8 x 8."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1, stride=2, bias=False)
        self.norm2 = nn.BatchNorm2d(2 * width)
        self.conv3 = nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(2 * width)
        self.fc = nn.Linear(2 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(self.conv1(x)).relu()
        x = self.norm2(self.conv2(x)).relu()
        x = self.norm3(self.conv3(x)).relu()
        found: Tensor = self.fc(x.mean((2, 3)))
        return found


@pytest.fixture(scope="session")
def digits() -> Dataset:
    pytest.importorskip("sklearn")
    return load("digits").subset(600, 200).normalized()


@pytest.fixture(scope="session")
def trained(digits: Dataset) -> nn.Module:
    """A network that reads digits; use copies of it only."""
    model = seeded(DigitNet)
    with torch.random.fork_rng(devices=[]):
        for _ in train(model, digits, Recipe(epochs=6, batch_size=32, learning_rate=0.05)):
            pass
    model.eval().zero_grad(set_to_none=True)
    assert accuracy(model, digits.x_test, digits.y_test) > 0.93
    return model


@pytest.fixture
def model() -> nn.Module:
    return small_model().eval()


@pytest.fixture
def data() -> AttackData:
    return full_data()
