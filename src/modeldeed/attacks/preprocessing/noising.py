"""Add noise to every input.

Source:
    V. Zantedeschi, M.-I. Nicolae, A. Rawat, "Efficient Defenses Against Adversarial Attacks",
    AISec 2017; N. Lukas et al., S&P 2022 (input noising).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from modeldeed.attacks._layers import drawn_seed
from modeldeed.attacks.preprocessing._wrapped import InputAttack, InputChange
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.data import Dataset
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["InputNoise"]


class _Noisy(InputChange):
    """Noise that is new in every call; calls are counted, so that the whole can be repeated."""

    def __init__(self, dataset: Dataset, deviation: float, seed: int) -> None:
        super().__init__(dataset)
        self._deviation, self._seed, self._calls = deviation, seed, 0

    def changed(self, unit: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self._seed + self._calls)
        self._calls += 1
        noise = torch.randn(unit.shape, generator=generator).to(unit)
        return (unit + self._deviation * noise).clamp(0, 1)


@register("input-noise")
@dataclass(frozen=True, kw_only=True)
class InputNoise(InputAttack):
    """Add Gaussian noise to every input, new in every call.

    Attributes:
        deviation: as a part of the inputs' range, > 0.
    """

    source: ClassVar[str] = "Zantedeschi et al., AISec 2017; Lukas et al., S&P 2022"

    deviation: float

    def __post_init__(self) -> None:
        if not self.deviation > 0:
            raise OptionError(f"deviation is > 0, got {self.deviation}")

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:  # noqa: ARG003
        """Two, six, fifteen per cent of the range."""
        return {"2 %": cls(deviation=0.02), "6 %": cls(deviation=0.06), "15 %": cls(deviation=0.15)}

    def change(self, data: AttackData, generator: torch.Generator) -> InputChange:
        """Noise."""
        return _Noisy(data.dataset, self.deviation, drawn_seed(generator))
