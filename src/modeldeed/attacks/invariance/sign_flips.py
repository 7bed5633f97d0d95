"""Turn the sign of channels and turn it back again; the function stays.

Between a weight and the batch norm behind it a sign is free: the norm's scale takes it up. So it is
wherever nothing but linear operations lies between writing and reading.

Source:
    Y. Yan et al., "Cracking White-box DNN Watermarks via Invariant Neuron Transforms", arXiv
    2205.00199.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from modeldeed.attacks._layers import copy_of
from modeldeed.attacks.invariance._channels import rescaled
from modeldeed.attacks.invariance._tracing import spaces_of
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["FlipSigns", "flip_signs"]


def flip_signs(
    model: nn.Module, example: Tensor, *, share: float = 0.5, generator: torch.Generator
) -> nn.Module:
    """Flip a share of the channels wherever only linear operations use them.

    Args:
        model: not changed.
        example: an input; a small batch is enough.
        share: of channels, in (0, 1].
        generator: of the choice, on the CPU.

    Returns:
        A copy in evaluation mode that computes the same.

    Raises:
        OptionError: ``share`` is out of range, or no channels can be flipped.
    """
    if not 0 < share <= 1:
        raise OptionError(f"share is in (0, 1], got {share}")
    changed = copy_of(model)
    flipped = False
    for space in spaces_of(changed, example, parted=True):
        drawn = torch.rand(space.size, generator=generator)
        flips = torch.where(drawn < share, -1.0, 1.0)
        if space.linear and all(norm.affine for norm in space.norms):
            rescaled(space, flips.to(example.device))
            flipped = True
    if not flipped:
        raise OptionError(
            f"{type(model).__name__} has no channels that only linear operations use; a "
            "transformer is rewritten by permute-heads and rotate-residual"
        )
    return changed


@register("flip-signs")
@dataclass(frozen=True, kw_only=True)
class FlipSigns(Attack):
    """Flip the signs of channels; see `flip_signs`.

    Attributes:
        share: of channels.
    """

    source: ClassVar[str] = "Yan et al., arXiv 2205.00199"

    share: float = 0.5

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:  # noqa: ARG003
        """Shares of channels."""
        return {"a tenth": cls(share=0.1), "half": cls(), "all": cls(share=1.0)}

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """A copy with flipped channels."""
        return flip_signs(
            model, torch.zeros_like(data.dataset.x_train[:2]), share=self.share, generator=generator
        )
