"""A small network and data to attack."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modeldeed.attacks import AttackData
from modeldeed.data import Dataset


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


def small_data(classes: int = 3) -> Dataset:
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(48) % classes
    x = torch.rand(48, 2, 8, 8, generator=generator) / 2 + (y[:, None, None, None] / classes) / 2
    names = tuple("abcdefgh"[:classes])
    return Dataset(name="small", x_train=x, y_train=y, x_test=x[:12], y_test=y[:12], classes=names)


@pytest.fixture
def model() -> nn.Module:
    return small_model().eval()


@pytest.fixture
def data() -> AttackData:
    return AttackData(small_data())
