"""Smooth every picture or sound: by means, medians or a Gaussian.

Source:
    W. Xu, D. Evans, Y. Qi, "Feature Squeezing", NDSS 2018 (median); N. Lukas et al., S&P 2022.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from modeldeed.attacks.preprocessing._wrapped import InputAttack, InputChange, require_kind
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.data import Dataset
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["Smooth", "smoothed"]

Kind = Literal["mean", "median", "gaussian"]
_REACH = 3.0  # deviations of a Gaussian in half of its window


def smoothed(pictures: Tensor, kind: Kind, window: int) -> Tensor:
    """Replace every pixel by something of its window; the border's pixels are drawn outwards.

    Args:
        pictures: ``(N, C, H, W)``; with H = 1 the window is one pixel high.
        kind: what of it.
        window: its side, odd.
    """
    high = 1 if pictures.shape[2] == 1 else window
    sides = (window // 2, window // 2, high // 2, high // 2)
    filled = F.pad(pictures, sides, mode="replicate")
    windows = filled.unfold(2, high, 1).unfold(3, window, 1).flatten(4)
    if kind == "median":
        return windows.median(-1).values
    if kind == "mean":
        return windows.mean(-1)
    down, across = _bell(high, pictures), _bell(window, pictures)
    weights = (down[:, None] * across).flatten()
    return windows @ weights


def _bell(size: int, like: Tensor) -> Tensor:
    at = torch.arange(size, device=like.device, dtype=like.dtype) - size // 2
    heights = (-0.5 * (at * 2 * _REACH / size) ** 2).exp()
    return heights / heights.sum()


class _Smoothed(InputChange):
    def __init__(self, dataset: Dataset, kind: Kind, window: int) -> None:
        super().__init__(dataset)
        self._kind: Kind = kind
        self._window = window

    def changed(self, unit: Tensor) -> Tensor:
        pictures = unit if unit.dim() == 4 else unit[:, None, None]
        return smoothed(pictures, self._kind, self._window).reshape(unit.shape)


@register("input-smoothing")
@dataclass(frozen=True, kw_only=True)
class Smooth(InputAttack):
    """Smooth pictures or sound by means, medians or a Gaussian.

    Attributes:
        kind: ``"mean"``, ``"median"`` or ``"gaussian"``.
        window: side of the window, odd, at least 3; a Gaussian's deviation is a sixth of it.
    """

    source: ClassVar[str] = "Xu et al., NDSS 2018; Lukas et al., S&P 2022"

    kind: Kind = "mean"
    window: int = 3

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise OptionError(f"kind is 'mean', 'median' or 'gaussian', got {self.kind!r}")
        if self.window < 3 or self.window % 2 == 0:
            raise OptionError(f"window is odd and at least 3, got {self.window}")

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:  # noqa: ARG003
        """A narrow Gaussian, then medians and means of 3 and 5."""
        return {
            "gaussian, 3": cls(kind="gaussian"),
            "median, 3": cls(kind="median"),
            "mean, 3": cls(),
            "gaussian, 5": cls(kind="gaussian", window=5),
            "median, 5": cls(kind="median", window=5),
            "mean, 5": cls(window=5),
        }

    def change(
        self,
        data: AttackData,
        generator: torch.Generator,  # noqa: ARG002 - draws nothing
    ) -> InputChange:
        """Smoothing.

        Raises:
            OptionError: inputs are neither pictures nor sound.
        """
        require_kind(self, data.dataset, 4, 2)
        return _Smoothed(data.dataset, self.kind, self.window)
