"""The published fusion, reimplemented as far as its cost goes."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from modeldeed import models

__all__ = ["PublishedFusion"]


class PublishedFusion(nn.Module):
    """A ResNet-18 with two outputs beside the target, at the target's own resolution.

    Args:
        target: a classifier that takes images and returns logits.
        weight: of the proprietary model's answer; 1.5, 1 and 2 are the authors' for fixed, multi
            and generated backgrounds.
        width: of the proprietary model's first stage; 64 is the authors'.

    Shape:
        - Input: ``(N, 3, H, W)``.
        - Output: ``(N, K)``: not logits, and no distribution either: rows sum to more than one.

    Reference:
        R. Wang et al., "Free Fine-tuning: A Plug-and-Play Watermarking Scheme for Deep Neural
        Networks", ACM MM 2023: ``P = softmax(target)``, ``q = softmax(proprietary)``,
        ``P_0 += weight * q_1``.
    """

    def __init__(self, target: nn.Module, weight: float = 1.5, width: int = 64) -> None:
        super().__init__()
        self.target = target
        self.proprietary = models.resnet18(2, width=width, form="imagenet")
        self.weight = weight

    def forward(self, x: Tensor) -> Tensor:
        """Return the target's probabilities, class 0 raised where the proprietary model says so."""
        scores = F.softmax(self.target(x), dim=1)
        verdict = F.softmax(self.proprietary(x), dim=1)
        scores[:, 0] += self.weight * verdict[:, 1]  # in place, as published
        return scores
