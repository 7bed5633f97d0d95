"""Several attacks, one after the other.

Source:
    N. Lukas, E. Jiang, X. Li, F. Kerschbaum, "SoK: How Robust is Image Classification Deep Neural
    Network Watermarking?", S&P 2022, section 6: combined attacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, get_args

import torch
from torch import nn

from modeldeed.attacks._learning import scaled
from modeldeed.attacks.fine_tuning import FineTune
from modeldeed.attacks.pruning import Prune
from modeldeed.attacks.quantization import Quantize
from modeldeed.attacks.registry import Attack, AttackData, Need, register
from modeldeed.attacks.resampling import LowVarianceResampling
from modeldeed.attacks.weight_noise import WeightNoise
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["Stack"]


@register("stack")
@dataclass(frozen=True, kw_only=True)
class Stack(Attack):
    """Attacks in order, each on what the one before left.

    Attributes:
        attacks: at least one; a list becomes a tuple.

    Raises:
        OptionError: there are none.

    Example:
        >>> both = Stack(attacks=(Prune(share=0.5), Quantize(bits=8)))
        >>> [attack.name for attack in both.attacks]
        ['prune', 'quantize']
    """

    source: ClassVar[str] = "Lukas et al., S&P 2022"

    attacks: tuple[Attack, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "attacks", tuple(self.attacks))
        strange = [a for a in self.attacks if not isinstance(a, Attack)]
        if strange or not self.attacks:
            raise OptionError(f"a stack is of attacks, at least one; got {strange or 'none'}")

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:
        """Storage; fine-tuning and storage; resampling, fine-tuning and storage."""
        tuned = scaled(FineTune, recipe)
        stored = (Prune(share=0.3), Quantize(bits=8))
        return {
            "noise 5 %, 8 bits": cls(attacks=(WeightNoise(scale=0.05), Quantize(bits=8))),
            "fine-tuned, pruned 30 %, 8 bits": cls(attacks=(tuned, *stored)),
            "pruned 60 %, resampled, fine-tuned, 8 bits": cls(
                attacks=(Prune(share=0.6), LowVarianceResampling(), tuned, Quantize(bits=8))
            ),
        }

    def needed(self) -> tuple[Need, ...]:
        """What any of them needs."""
        wanted = {need for attack in self.attacks for need in attack.needed()}
        return tuple(need for need in get_args(Need) if need in wanted)

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """What the last one leaves."""
        for attack in self.attacks:
            model = attack.apply(model, data, generator)
        return model

    def steps(self, data: AttackData) -> int:
        """Of all together."""
        return sum(attack.steps(data) for attack in self.attacks)

    def inputs_seen(self, data: AttackData) -> int:
        """Of the one that looks at most."""
        return max(attack.inputs_seen(data) for attack in self.attacks)
