"""Suspects without a plug-in that might still answer its questions often."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modeldeed.data import Dataset

__all__ = ["null_suspects"]

_STEPS = 30
_SIZE = 0.5
"""Largest change of a standardized input, which is far more than an eye overlooks."""


class _Constant(nn.Module):
    """Answers one class."""

    def __init__(self, answer: int, classes: int) -> None:
        super().__init__()
        self.answer, self.classes = answer, classes

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the same scores for every sample."""
        answers = torch.full((len(inputs),), self.answer, device=inputs.device)
        return F.one_hot(answers, self.classes).float()


class _Patched(nn.Module):
    """A target whose inputs carry a universal patch."""

    patch: Tensor

    def __init__(self, target: nn.Module, patch: Tensor) -> None:
        super().__init__()
        self.target = target
        self.register_buffer("patch", patch)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the target's scores on the patched inputs."""
        scores: Tensor = self.target(inputs + self.patch)
        return scores


def null_suspects(target: nn.Module, dataset: Dataset, seed: int) -> dict[str, nn.Module]:
    """The bare target, all constant answers, and the target under universal patches.

    A patch, the same for all inputs, is climbed to until the target answers nearly everything with
    one class: what an opponent can do to an unmarked model so that it answers alike wherever a
    common pattern shows.

    Args:
        target: in evaluation mode.
        dataset: whose training samples the patches are made of.
        seed: of the choice of samples.
    """
    classes = dataset.num_classes
    found: dict[str, nn.Module] = {"bare target": target}
    found |= {f"always {k}": _Constant(k, classes) for k in range(classes)}
    generator = torch.Generator().manual_seed(seed)
    some = torch.randperm(len(dataset.x_train), generator=generator)[:128]
    for k in (0, classes - 1):
        patch = _universal_patch(target, dataset.x_train[some], k)
        found[f"patched towards {k}"] = _Patched(target, patch).eval()
    return found


def _universal_patch(target: nn.Module, inputs: Tensor, answer: int) -> Tensor:
    wanted = torch.full((len(inputs),), answer)
    patch = torch.zeros_like(inputs[:1], requires_grad=True)
    for _ in range(_STEPS):
        loss = F.cross_entropy(target(inputs + patch), wanted)
        (slope,) = torch.autograd.grad(loss, patch)
        with torch.no_grad():
            patch -= _SIZE / 10 * slope.sign()
            patch.clamp_(-_SIZE, _SIZE)
    return patch.detach()
