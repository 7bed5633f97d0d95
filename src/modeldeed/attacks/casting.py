"""Store weights in a narrow floating-point format and read them back.

Source:
    P. Micikevicius et al., "Mixed Precision Training", ICLR 2018 (fp16); "FP8 Formats for Deep
    Learning", arXiv 2209.05433 (fp8).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import nn

from modeldeed.attacks._layers import copy_of
from modeldeed.attacks.registry import Attack, AttackData, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["Cast", "Format", "cast"]

Format = Literal["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"]


def cast(model: nn.Module, form: Format) -> nn.Module:
    """Round every parameter and running statistic of a copy to a format.

    Args:
        model: not changed.
        form: the format's name in torch.

    Returns:
        The copy in evaluation mode, in its own types again; what computes with it stays.

    Raises:
        OptionError: the format is unknown.

    Example:
        >>> layer = nn.Linear(1, 1)
        >>> _ = nn.init.constant_(layer.weight, 1 + 2**-9)
        >>> cast(layer, "bfloat16").weight.item()
        1.0
    """
    if form not in get_args(Format):
        raise OptionError(f"format {form!r} is unknown; there are: {', '.join(get_args(Format))}")
    narrow: torch.dtype = getattr(torch, form)
    changed = copy_of(model)
    largest = torch.finfo(narrow).max
    for tensor in [*changed.parameters(), *changed.buffers()]:
        if tensor.is_floating_point():
            kept = tensor.data.clamp(-largest, largest)
            tensor.data.copy_(kept.to(narrow).to(tensor.dtype))
    return changed


@register("cast")
@dataclass(frozen=True, kw_only=True)
class Cast(Attack):
    """Store weights in a narrow format; see `cast`.

    Attributes:
        form: its name in torch.
    """

    source: ClassVar[str] = "Micikevicius et al., ICLR 2018 and arXiv 2209.05433"

    form: Format

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:  # noqa: ARG003
        """From 11 significant bits to 3."""
        return {
            "fp16": cls(form="float16"),
            "bf16": cls(form="bfloat16"),
            "fp8 e4m3": cls(form="float8_e4m3fn"),
            "fp8 e5m2": cls(form="float8_e5m2"),
        }

    def apply(
        self,
        model: nn.Module,
        data: AttackData,  # noqa: ARG002 - needs none
        generator: torch.Generator,  # noqa: ARG002 - draws nothing
    ) -> nn.Module:
        """A rounded copy."""
        return cast(model, self.form)
