"""Remove what stands out in a layer's spectrum.

Passports that all rows of a layer share, as the published ones do, press one direction into all
rows: it is the layer's leading singular component, and can be read off and removed without the key.

Source:
    This project; that marks show in the statistics of weights: T. Wang, F. Kerschbaum, "RIGA:
    Covert and Robust White-Box Watermarking of Deep Neural Networks", WWW 2021.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from modeldeed.attacks._layers import copy_of, re_estimate, weights_of
from modeldeed.attacks.registry import Attack, AttackData, Need, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["RemoveComponents", "remove_components"]


def remove_components(
    model: nn.Module, calibration: Tensor, *, components: int, share: float = 1.0
) -> nn.Module:
    """Take the leading singular components off every weight of a copy but the last.

    Args:
        model: not changed.
        calibration: unlabelled inputs, shape ``(N, *)``, N ≥ 2, for running statistics.
        components: how many of each weight, as a matrix of output channels by the rest; of a
            weight that has no more, none.
        share: part of a component that is taken off, in (0, 2]; 2 turns it round.

    Returns:
        The copy in evaluation mode.

    Raises:
        OptionError: an argument is out of range, or there is no layer with a weight.
    """
    if components < 1 or not 0 < share <= 2:
        raise OptionError(
            f"components is at least 1 and share in (0, 2], got {components} and {share}"
        )
    changed = copy_of(model)
    for _, weight in weights_of(changed)[:-1]:
        rows = weight.data.flatten(1).double()
        if min(rows.shape) <= components:
            continue
        left, values, right = torch.linalg.svd(rows, full_matrices=False)
        values[components:] = 0
        leading = (left * values) @ right
        weight.data.copy_((rows - share * leading).view(weight.shape))
    re_estimate(changed, calibration)
    return changed


@register("remove-components")
@dataclass(frozen=True, kw_only=True)
class RemoveComponents(Attack):
    """Take leading singular components off; see `remove_components`.

    Attributes:
        components: of each weight.
        share: part of each that is taken off.
        samples: unlabelled inputs that running statistics are re-estimated with.
    """

    source: ClassVar[str] = "This project"
    needs: ClassVar[tuple[Need, ...]] = ("inputs",)

    components: int = 1
    share: float = 1.0
    samples: int = 140

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:  # noqa: ARG003
        """One, two, four of them."""
        return {f"{count} leading": cls(components=count) for count in (1, 2, 4)}

    def inputs_seen(self, data: AttackData) -> int:
        """Those that statistics are estimated with."""
        return min(self.samples, len(data.dataset.y_train))

    def apply(
        self,
        model: nn.Module,
        data: AttackData,
        generator: torch.Generator,  # noqa: ARG002 - draws nothing
    ) -> nn.Module:
        """A changed copy."""
        calibration = data.dataset.x_train[: self.samples]
        return remove_components(model, calibration, components=self.components, share=self.share)
