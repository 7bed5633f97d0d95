"""Small targets, and a detector that recognizes templates without having been trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from modeldeed.plugin.fusion import FusedModel, fuse

READ = 12
"""How many numbers of a sample the stand-in detector looks at."""


class TemplateDetector(nn.Module):
    """Compares the first numbers of a sample, in the canonical layout, with templates."""

    def __init__(self, count: int = 6, seed: int = 0, sharpness: float = 30.0) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.templates = nn.Parameter(torch.randint(0, 2, (count, READ), generator=draw).float())
        self.sharpness = sharpness
        self.register_buffer("threshold", torch.tensor(0.6))

    def forward(self, x: Tensor) -> Tensor:
        seen = x.flatten(1)[:, :READ]
        distances = (seen[:, None] - self.templates).square().sum(2)
        none = torch.full_like(distances[:, :1], 0.3)
        return -self.sharpness * torch.cat([distances, none], 1)


def placed(detector: TemplateDetector, carriers: Tensor, indices: Tensor) -> Tensor:
    """Put carriers (unit scale) on templates, through which they shimmer a little."""
    flat = carriers.flatten(1).clone()
    flat[:, :READ] = 0.9 * detector.templates.detach()[indices] + 0.1 * flat[:, :READ]
    return flat.view_as(carriers)


def carriers(count: int, *shape: int, seed: int = 1) -> Tensor:
    """Gray samples in unit scale, far from every template."""
    draw = torch.Generator().manual_seed(seed)
    return 0.3 + 0.4 * torch.rand(count, *(shape or (3, 8, 8)), generator=draw)


class Net(nn.Module):
    """Convolution, batch norm, dropout and a classifier."""

    def __init__(self, classes: int = 10, channels: int = 3, seed: int = 2) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.body = nn.Sequential(
                nn.Conv2d(channels, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2)
            )
            self.head = nn.Linear(32, classes)
            nn.init.normal_(self.head.weight, std=9.0)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(nn.functional.avg_pool2d(self.body(x), 3).flatten(1))
        return scores


CLASSES = torch.tensor([7, 2, 2, 9, 0, 4])
"""Of the six backgrounds; two share a class."""


def fused_net(target: nn.Module | None = None, **options: Any) -> FusedModel:
    """A fused model in eval mode."""
    chosen = {"classes": CLASSES, "num_classes": 10, **options}
    return fuse((target or Net()).eval(), TemplateDetector(), **chosen)


def verification(count: int = 12, seed: int = 3) -> tuple[Tensor, Tensor]:
    """Samples on backgrounds, and the indices of these."""
    indices = torch.arange(count) % len(CLASSES)
    return placed(TemplateDetector(), carriers(count, seed=seed), indices), indices
