"""Round every number of an input to a few levels.

Source:
    N. Lukas et al., S&P 2022 (input quantization).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from modeldeed.attacks.preprocessing._wrapped import InputAttack, InputChange
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.data import Dataset
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["InputLevels", "rounded"]


def rounded(unit: Tensor, levels: int) -> Tensor:
    """Numbers in [0, 1] on the nearest of so many equally spaced levels, both ends among them."""
    return (unit * (levels - 1)).round() / (levels - 1)


class _Rounded(InputChange):
    def __init__(self, dataset: Dataset, levels: int) -> None:
        super().__init__(dataset)
        self._levels = levels

    def changed(self, unit: Tensor) -> Tensor:
        return rounded(unit, self._levels)


@register("input-levels")
@dataclass(frozen=True, kw_only=True)
class InputLevels(InputAttack):
    """Round every input to a few levels.

    Attributes:
        levels: at least 2.
    """

    source: ClassVar[str] = "Lukas et al., S&P 2022"

    levels: int

    def __post_init__(self) -> None:
        if self.levels < 2:
            raise OptionError(f"levels is at least 2, got {self.levels}")

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:  # noqa: ARG003
        """16, 8, 4 levels."""
        return {f"{levels} levels": cls(levels=levels) for levels in (16, 8, 4)}

    def change(
        self,
        data: AttackData,
        generator: torch.Generator,  # noqa: ARG002 - draws nothing
    ) -> InputChange:
        """Rounding."""
        return _Rounded(data.dataset, self.levels)
