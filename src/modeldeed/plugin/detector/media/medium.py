"""What training needs of a kind of input."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from modeldeed.plugin.detector.changes import Changes

__all__ = ["Medium"]


class Medium(Protocol):
    """One kind of input. Samples are canonical integers, on the CPU."""

    changes: Changes
    """Of views, in every step."""
    distorted_share: float
    """So many of the samples on the owner's backgrounds are distorted before they are reduced."""

    def views(self, samples: Tensor) -> Tensor:
        """The detector's views of samples, or finer ones where that helps; float32."""

    def distorted(self, samples: Tensor, generator: torch.Generator) -> Tensor:
        """Samples as they may arrive at an endpoint; canonical, perhaps of a smaller size."""

    def altered(self, samples: Tensor, generator: torch.Generator) -> Tensor:
        """Samples whose backgrounds are no longer those of the key."""

    def look_alikes(self, benign: Tensor, generator: torch.Generator) -> Tensor:
        """Benign samples, each made to look as if another lay behind it."""

    def varied(self, views: Tensor, generator: torch.Generator) -> Tensor:
        """Views of other keys' samples as yet other keys' might look; the batch alike."""

    def synthetic(self, count: int, generator: torch.Generator) -> Tensor:
        """Made up benign samples."""
