"""Small targets of every shape that can be woven, with statistics of their own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modeldeed import models
from modeldeed.plugin.weaving import ThinTwin, thin_twin

BACKGROUNDS = 12
KEY, OTHER_KEY = bytes(32), bytes([1]) * 32


class Flattened(nn.Module):
    """Biases, no norms, pools, dropout, a reshape before the linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 5, 3, padding=1, stride=2)
        self.dropout = nn.Dropout(0.5)
        self.fc1 = nn.Linear(5 * 4, 9)
        self.fc2 = nn.Linear(9, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.gelu(self.conv2(x))
        x = self.dropout(x.view(x.size(0), -1))
        scores: Tensor = self.fc2(F.relu(self.fc1(x)))
        return scores


class Residual(nn.Module):
    """A sum, a product, a depthwise convolution with a bias, a norm without scale."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.each = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.plain = nn.BatchNorm2d(6, affine=False)
        self.inner = nn.Conv2d(6, 7, 1)
        self.back = nn.Conv2d(7, 6, 1)
        self.gate = nn.Conv2d(6, 6, 1)
        self.classifier = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        y = self.plain(self.each(x))
        y = self.back(F.relu6(self.inner(y)))
        y = y * torch.sigmoid(self.gate(y.mean((2, 3), keepdim=True)))
        scores: Tensor = self.classifier((x + y).mean((2, 3)))
        return scores


def _settled(model: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """With statistics and scales that are not the initial ones."""
    generator = torch.Generator().manual_seed(1)
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.rand(16, *shape, generator=generator))
        for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d) and m.affine):
            norm.weight.uniform_(0.5, 1.5, generator=generator)
            norm.bias.uniform_(-0.3, 0.3, generator=generator)
    return model.eval()


TARGETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "flattened": (Flattened, (2, 8, 8)),
    "residual": (Residual, (2, 8, 8)),
    "resnet_small": (lambda: models.resnet_small(width=8), (1, 8, 8)),
    "resnet18": (lambda: models.resnet18(width=4), (3, 16, 16)),
    "resnet50": (lambda: models.resnet50(width=2), (3, 8, 8)),
    "vgg16": (lambda: models.vgg16(width=2), (3, 32, 32)),
    "mobilenet_v2": (lambda: models.mobilenet_v2(width=0.1), (3, 16, 16)),
}


def target_of(name: str) -> tuple[nn.Module, Tensor]:
    """A target in evaluation mode and 40 inputs."""
    make, shape = TARGETS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = _settled(make(), shape)
    return model, torch.rand(40, *shape, generator=torch.Generator().manual_seed(2))


def twin_of(target: nn.Module, inputs: Tensor) -> ThinTwin:
    """An untrained twin that takes about half of the inputs for verification samples."""
    twin = thin_twin(target, inputs[:2], BACKGROUNDS, width=lambda _: 4)
    twin.settle(inputs)
    with torch.no_grad():
        top = twin(inputs).softmax(1)[:, :-1].amax(1)
        ordered = top.sort().values
        twin.threshold.copy_((ordered[len(top) // 2] + ordered[len(top) // 2 - 1]) / 2)
    return twin


def classes_of(count: int = 4) -> Tensor:
    """A class for each background."""
    return torch.arange(BACKGROUNDS) * 7 % count
