"""Compress every picture as JPEG before the model sees it.

Source:
    G. K. Dziugaite, Z. Ghahramani, D. Roy, "A study of the effect of JPG compression on
    adversarial images", 2016; N. Lukas et al., S&P 2022.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from modeldeed.attacks.preprocessing._wrapped import InputAttack, InputChange, require_kind
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.data import Dataset
from modeldeed.data._extras import import_extra
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["Jpeg"]


class _Compressed(InputChange):
    def __init__(self, dataset: Dataset, quality: int) -> None:
        super().__init__(dataset)
        self._quality = quality
        self._images: Any = import_extra("PIL.Image", "pillow", "data")

    def changed(self, unit: Tensor) -> Tensor:
        bytes_ = (unit.detach() * 255).round().to(torch.uint8).cpu().permute(0, 2, 3, 1).numpy()
        back = np.stack([self._one(picture) for picture in bytes_])
        return torch.from_numpy(back).permute(0, 3, 1, 2).to(unit) / 255

    def _one(self, picture: Any) -> Any:
        gray = picture.shape[2] == 1
        file = io.BytesIO()
        image = self._images.fromarray(picture[:, :, 0] if gray else picture)
        image.save(file, "JPEG", quality=self._quality)
        return np.array(self._images.open(file), np.uint8).reshape(picture.shape)


@register("input-jpeg")
@dataclass(frozen=True, kw_only=True)
class Jpeg(InputAttack):
    """Compress every picture as JPEG.

    Attributes:
        quality: 1 … 95, as Pillow has it.
    """

    source: ClassVar[str] = "Dziugaite et al., 2016; Lukas et al., S&P 2022"

    quality: int

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 95:
            raise OptionError(f"quality is in 1 … 95, got {self.quality}")

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:  # noqa: ARG003
        """Qualities 90, 50, 10."""
        return {f"quality {quality}": cls(quality=quality) for quality in (90, 50, 10)}

    def change(
        self,
        data: AttackData,
        generator: torch.Generator,  # noqa: ARG002 - draws nothing
    ) -> InputChange:
        """Compression.

        Raises:
            OptionError: inputs are no pictures of one or three channels.
            MissingExtraError: Pillow is not installed.
        """
        require_kind(self, data.dataset, 4)
        if data.dataset.input_shape[0] not in (1, 3):
            raise OptionError(f"JPEG holds 1 or 3 channels, got {data.dataset.input_shape[0]}")
        return _Compressed(data.dataset, self.quality)
