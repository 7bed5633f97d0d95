"""The networks whose cost is compared: a target alone, with a plug-in, with the published one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from benchmarks.cells import Values
from benchmarks.experiments._published_fusion import PublishedFusion
from modeldeed import Preparation, models
from modeldeed.anchor.plugin_rule import BackgroundRule
from modeldeed.anchor.trigger_rule import ImageInput
from modeldeed.models import NormKind
from modeldeed.plugin.backgrounds import background_rule
from modeldeed.plugin.detector import Detector, detector_for
from modeldeed.plugin.fusion import fuse

__all__ = ["BESIDE", "Answered", "Target", "detector_of", "fused"]

# The usual preparation of ImageNet models: the detector has to undo it.
_PREPARATION = Preparation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@dataclass(frozen=True, kw_only=True)
class Target:
    """A network for photographs with random weights, and how it is measured.

    Attributes:
        network: the architecture, in the form for ImageNet.
        width: of the network; None takes its default.
        norm: kind of its norms; None for none.
        classes: K.
        size: of the images, on a side.
        published_width: of the published fusion's own network.
        repeats: turns of each model, by the size of the batch.
    """

    network: Literal["resnet18", "resnet50", "vgg16", "mobilenet_v2"]
    repeats: tuple[tuple[int, int], ...]
    width: float | None = None
    norm: NormKind | None = "batch"
    classes: int = 1000
    size: int = 224
    published_width: int = 64

    @property
    def name(self) -> str:
        """How it is called in cards and by ``--only``."""
        return self.network

    def configuration(self) -> Values:
        """All that its costs depend on, as JSON."""
        choices = {
            "target": asdict(self),
            "preparation": asdict(_PREPARATION),
            "backgrounds": _rule_of(self).model_dump(mode="json"),
        }
        plain: Values = json.loads(json.dumps(choices))  # tuples become lists
        return plain

    def build(self) -> nn.Module:
        """The network in eval mode; the same every time."""
        options = {} if self.width is None else {"width": self.width}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network: nn.Module = getattr(models, self.network)(
                self.classes, norm=self.norm, form="imagenet", **options
            )
        return network.eval()

    def images(self, count: int, device: torch.device) -> Tensor:
        """Prepared images of random pixels."""
        generator = torch.Generator().manual_seed(0)
        shape = (count, 3, self.size, self.size)
        pixels = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
        return cast(Tensor, _PREPARATION(pixels)).to(device)


def _rule_of(target: Target) -> BackgroundRule:
    """The rule of the plug-in's backgrounds: the default one for images of the target's size."""
    return background_rule(ImageInput(channels=3, height=target.size, width=target.size))


def detector_of(target: Target) -> Detector:
    """The plug-in's detector, untrained: what it has learned does not change what it costs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return detector_for(_rule_of(target)).eval()


def fused(network: nn.Module, target: Target) -> nn.Module:
    """A plug-in beside a network that answers images of the target's form.

    Args:
        network: returns logits ``(N, K)``; not changed.
        target: names K and the size of the images.
    """
    classes = torch.arange(_rule_of(target).count) % target.classes
    detector = detector_of(target)
    beside = fuse(
        network, detector, classes=classes, num_classes=target.classes, preparation=_PREPARATION
    )
    return beside.eval()


def published(network: nn.Module, target: Target) -> nn.Module:
    """The published fusion beside a network; arguments as of `fused`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PublishedFusion(network, width=target.published_width).eval()


BESIDE = {"fused": fused, "published": published}
"""What is measured against the target alone."""


class Answered(nn.Module):
    """A target that computes nothing: beside it, the plug-in's time is all there is.

    Args:
        classes: K.

    Shape:
        - Input: ``(N, *)``.
        - Output: ``(N, K)``.
    """

    scores: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("scores", torch.linspace(-3, 3, classes).unsqueeze(0))

    def forward(self, x: Tensor) -> Tensor:
        """Return the same logits for every sample."""
        return self.scores.expand(len(x), -1)
