"""Feature squeezing: fewer levels, then medians.

Source:
    W. Xu, D. Evans, Y. Qi, "Feature Squeezing: Detecting Adversarial Examples in Deep Neural
    Networks", NDSS 2018.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from modeldeed.attacks.preprocessing._wrapped import InputAttack, InputChange
from modeldeed.attacks.preprocessing.levels import rounded
from modeldeed.attacks.preprocessing.smoothing import smoothed
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.data import Dataset
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["Squeeze"]


class _Squeezed(InputChange):
    def __init__(self, dataset: Dataset, bits: int, window: int) -> None:
        super().__init__(dataset)
        self._levels, self._window = 2**bits, window

    def changed(self, unit: Tensor) -> Tensor:
        few = rounded(unit, self._levels)
        if self._window == 1 or unit.dim() == 3:  # points have no neighbors in order
            return few
        pictures = few if few.dim() == 4 else few[:, None, None]
        return smoothed(pictures, "median", self._window).reshape(unit.shape)


@register("input-squeezing")
@dataclass(frozen=True, kw_only=True)
class Squeeze(InputAttack):
    """Round every number to a few bits, then take the median of its window.

    Attributes:
        bits: 1 … 8.
        window: side of the window, odd; 1 for none. Points are only rounded.
    """

    source: ClassVar[str] = "Xu et al., NDSS 2018"

    bits: int
    window: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 8 or self.window < 1 or self.window % 2 == 0:
            raise OptionError(f"bits is in 1 … 8 and window odd, got {self.bits} and {self.window}")

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:  # noqa: ARG003
        """Five, four, three bits and windows of 3; three bits and 5."""
        return {
            "5 bits, 3": cls(bits=5),
            "4 bits, 3": cls(bits=4),
            "3 bits, 3": cls(bits=3),
            "3 bits, 5": cls(bits=3, window=5),
        }

    def change(
        self,
        data: AttackData,
        generator: torch.Generator,  # noqa: ARG002 - draws nothing
    ) -> InputChange:
        """Rounding and medians."""
        return _Squeezed(data.dataset, self.bits, self.window)
