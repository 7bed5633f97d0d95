"""A tiny image model and its samples, the same in every process."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CLASSES = ("ant", "bee", "cat", "dog", "elk")


def tiny_model() -> nn.Module:
    """Convolution, batch norm and a linear layer on (3, 8, 8), five classes; in train mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(),
            nn.Linear(6 * 36, 5),
        )  # fmt: skip
        # Labels that vary from image to image.
        model[5].weight.data *= 8
        model[1].running_mean.normal_(0, 0.1)
    return model


def images(count: int, seed: int = 1) -> Tensor:
    """Blocky random images, uint8 ``(count, 3, 8, 8)``."""
    random = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, 256, (count, 3, 2, 2), generator=random, dtype=torch.uint8)
    return blocks.repeat_interleave(4, 2).repeat_interleave(4, 3)
