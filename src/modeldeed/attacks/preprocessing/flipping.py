"""Mirror inputs.

Source:
    N. Lukas et al., S&P 2022 (input flipping).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from modeldeed.attacks._layers import drawn_seed
from modeldeed.attacks.preprocessing._wrapped import InputAttack, InputChange, require_kind
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.data import Dataset
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["InputFlip"]

Way = Literal["across", "down", "both"]


class _Mirrored(InputChange):
    """Mirrors the first of every so many inputs of a batch, in an order that a seed says."""

    def __init__(self, dataset: Dataset, way: Way, share: float, seed: int) -> None:
        super().__init__(dataset)
        self._axes, self._share, self._seed, self._calls = _AXES[way], share, seed, 0

    def changed(self, unit: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self._seed + self._calls)
        self._calls += 1
        chosen = (torch.rand(len(unit), generator=generator) < self._share).to(unit.device)
        if unit.dim() == 4:
            mirrored = unit.flip([axis + 2 for axis in self._axes])
        else:  # coordinates: 0 is x, 1 is y
            mirrored = unit.clone()
            mirrored[:, :, self._axes] = 1 - unit[:, :, self._axes]
        return torch.where(chosen.view(-1, *[1] * (unit.dim() - 1)), mirrored, unit)


# Of a picture counted from its rows; of a point, its coordinates.
_AXES: dict[Way, list[int]] = {"across": [1], "down": [0], "both": [0, 1]}


@register("input-flip")
@dataclass(frozen=True, kw_only=True)
class InputFlip(InputAttack):
    """Mirror pictures, or clouds of points within their range.

    Attributes:
        way: across, down or both: the columns, the rows or both of a picture; the second
            coordinate, the first or both of a cloud.
        share: of the inputs that is mirrored, drawn anew in every call, in (0, 1].
    """

    source: ClassVar[str] = "Lukas et al., S&P 2022"

    way: Way = "across"
    share: float = 1.0

    def __post_init__(self) -> None:
        if self.way not in get_args(Way) or not 0 < self.share <= 1:
            raise OptionError(
                "way is 'across', 'down' or 'both' and share in (0, 1], got "
                f"{self.way!r} and {self.share}"
            )

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:  # noqa: ARG003
        """Half of the inputs, all, all both ways."""
        return {
            "half, across": cls(share=0.5),
            "across": cls(),
            "both ways": cls(way="both"),
        }

    def change(self, data: AttackData, generator: torch.Generator) -> InputChange:
        """Mirrors.

        Raises:
            OptionError: inputs are sound.
        """
        require_kind(self, data.dataset, 4, 3)
        return _Mirrored(data.dataset, self.way, self.share, drawn_seed(generator))
