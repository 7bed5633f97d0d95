"""The proprietary model: it tells which background a sample lies on, if any."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from modeldeed.anchor.plugin_rule import BackgroundRule
from modeldeed.plugin.detector.config import DetectorConfig
from modeldeed.plugin.detector.reductions import reduction_for

__all__ = ["Detector", "detector_for"]

_FIRST_WEIGHTS = 49_152  # of the first layer, about
_NARROWEST, _WIDEST = 32, 192
_SECOND = 128


class Detector(nn.Module):
    """A small view of the input and three linear layers with ReLU between them.

    Backgrounds show in the same place of every sample, so no convolution has to search for them;
    what is moved, mirrored or cut on the way is learned. A sample's result depends on that sample
    alone, and is the same in training and evaluation mode.

    Args:
        config: its sizes; see `detector_for`.

    Attributes:
        threshold: a sample counts as a verification sample if the probability of one background
            is larger; 1, so that none does, until `train_detector` has set it.

    Shape:
        - Input: in unit scale: images ``(N, C, H, W)`` in [0, 1], sound ``(N, L)`` and points
          ``(N, P, 3)`` in [-1, 1).
        - Output: ``(N, M + 1)`` logits, float32; the last one means "no background".

    Note:
        Computed in float32 whatever autocast says, and in the weights' dtype where these were
        converted. Initial weights follow from seed 0.

    Example:
        >>> from modeldeed.anchor.trigger_rule import ImageInput
        >>> form = ImageInput(channels=1, height=8, width=8)
        >>> detector = Detector(DetectorConfig(input=form, backgrounds=64, hidden=(96, 64)))
        >>> detector(torch.rand(2, 1, 8, 8)).shape
        torch.Size([2, 65])
    """

    threshold: Tensor

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        self.reduction = reduction_for(config.input)
        sizes = math.prod(self.reduction.shape), *config.hidden
        self.first = _linear(sizes[0], sizes[1])
        self.second = _linear(sizes[1], sizes[2])
        self.last = _linear(sizes[2], config.backgrounds + 1)
        self.register_buffer("threshold", torch.ones(()))
        self.reset(0)

    @property
    def version(self) -> str:
        """The versioned name of the architecture."""
        return self.config.version

    @torch.no_grad()
    def reset(self, seed: int) -> None:
        """Forget what was learned: initial weights, and silence.

        Args:
            seed: of the weights.
        """
        generator = torch.Generator().manual_seed(seed)
        for layer in (self.first, self.second, self.last):
            fresh = torch.randn(layer.weight.shape, generator=generator)
            layer.weight.copy_(fresh * math.sqrt(2 / layer.in_features))
            layer.bias.zero_()
        self.threshold.fill_(1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of samples in unit scale."""
        kind = x.device.type
        if torch.is_autocast_enabled(kind):
            # Half precision would move probabilities across the threshold.
            with torch.autocast(kind, enabled=False):
                return self.classify(self.reduction(x.float()))
        return self.classify(self.reduction(x.float()))

    def classify(self, views: Tensor) -> Tensor:
        """Return the logits ``(N, M + 1)`` of views ``(N, C, rows, columns)``."""
        hidden = self.first(views.flatten(1).to(self.threshold.dtype)).relu()
        logits: Tensor = self.last(self.second(hidden).relu())
        return logits.float()

    def detect(self, x: Tensor) -> Tensor:
        """Tell which background each sample lies on.

        Args:
            x: samples in unit scale.

        Returns:
            int64 ``(N,)``: the index on 0 … M − 1, or −1 where no probability is above the
            threshold.
        """
        probability, index = self(x).softmax(1)[:, :-1].max(1)
        return torch.where(probability > self.threshold, index, torch.full_like(index, -1))


def _linear(inputs: int, outputs: int) -> nn.Linear:
    """A layer without initial values: those would come from the global generator."""
    return nn.Linear(inputs, outputs, device="meta", dtype=torch.float32).to_empty(device="cpu")


def detector_for(rule: BackgroundRule) -> Detector:
    """A detector of the default size, which has learned nothing and is silent.

    Args:
        rule: of its backgrounds.

    Returns:
        It has at most 100,000 parameters for up to 168 backgrounds.

    Example:
        >>> from modeldeed.anchor.trigger_rule import ImageInput
        >>> from modeldeed.plugin.backgrounds import background_rule
        >>> detector = detector_for(background_rule(ImageInput(channels=3, height=96, width=96)))
        >>> sum(weights.numel() for weights in detector.parameters())
        79337
    """
    values = math.prod(reduction_for(rule.input).shape)
    first = min(_WIDEST, max(_NARROWEST, _FIRST_WEIGHTS // values))
    return Detector(
        DetectorConfig(input=rule.input, backgrounds=rule.count, hidden=(first, _SECOND))
    )
