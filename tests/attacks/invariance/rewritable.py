"""A small residual network whose channels can be rewritten, its statistics not trivial."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Small(nn.Module):
    """A stem, a residual block, a hidden linear layer behind a flattening, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 12, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(12)
        self.first = nn.Conv2d(12, 16, 3, padding=1)
        self.inner = nn.BatchNorm2d(16)
        self.second = nn.Conv2d(16, 12, 3, padding=1, bias=False)
        self.last = nn.BatchNorm2d(12)
        self.hidden = nn.Linear(48, 20)
        self.flat = nn.BatchNorm1d(20)
        self.classifier = nn.Linear(20, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        inside = F.relu(self.inner(self.first(x)))
        x = F.relu(x + self.last(self.second(inside)))
        x = F.max_pool2d(x, 3).flatten(1)
        return self.classifier(F.relu(self.flat(self.hidden(x))))


def small(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Small()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.weight.data.uniform_(-1.5, 1.5)
                module.bias.data.uniform_(-0.5, 0.5)
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return model.eval()


def inputs(count: int = 16, seed: int = 0) -> Tensor:
    return torch.randn(count, 2, 6, 6, generator=torch.Generator().manual_seed(seed))
