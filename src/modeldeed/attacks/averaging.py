"""Average weights: with another model, or over a training of one's own.

Source:
    M. Wortsman et al., "Model soups", ICML 2022, and "Robust fine-tuning of zero-shot models",
    CVPR 2022 (between two models); P. Izmailov et al., "Averaging Weights Leads to Wider Optima
    and Better Generalization", UAI 2018 (over a training).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel

from modeldeed.attacks._layers import copy_of, drawn_seed, re_estimate
from modeldeed.attacks._learning import TrainingAttack, learn, scaled
from modeldeed.attacks.registry import Attack, AttackData, Need, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["Average", "StochasticAverage", "average"]

_STATISTICS = 512  # inputs that running statistics are re-estimated with


def average(model: nn.Module, other: nn.Module, *, share: float) -> nn.Module:
    """Move every parameter and running statistic of a copy towards another model's.

    Args:
        model: not changed.
        other: with tensors of the same names and shapes; not changed.
        share: part of the other in the result, in (0, 1].

    Returns:
        The copy in evaluation mode.

    Raises:
        OptionError: ``share`` is out of range, or the models do not fit.
    """
    if not 0 < share <= 1:
        raise OptionError(f"share is in (0, 1], got {share}")
    changed = copy_of(model)
    own, others = changed.state_dict(), other.state_dict()
    if {n: t.shape for n, t in own.items()} != {n: t.shape for n, t in others.items()}:
        raise OptionError(
            "the other model has tensors of other names or shapes; weights can be averaged within "
            "one architecture only"
        )
    # Tied weights stand in a state dict twice and must move once.
    moved: set[int] = set()
    for name, tensor in own.items():
        if tensor.is_floating_point() and tensor.data_ptr() not in moved:
            moved.add(tensor.data_ptr())
            tensor.lerp_(others[name].to(tensor), share)
    return changed


@register("average")
@dataclass(frozen=True, kw_only=True)
class Average(Attack):
    """Average with another model, and re-estimate running statistics; see `average`.

    Attributes:
        share: part of the other model.
    """

    source: ClassVar[str] = "Wortsman et al., ICML 2022 and CVPR 2022"
    needs: ClassVar[tuple[Need, ...]] = ("inputs", "another model")

    share: float = 0.5

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:  # noqa: ARG003
        """A quarter, half, three quarters of the other model."""
        return {"25 %": cls(share=0.25), "50 %": cls(share=0.5), "75 %": cls(share=0.75)}

    def apply(
        self,
        model: nn.Module,
        data: AttackData,
        generator: torch.Generator,  # noqa: ARG002 - draws nothing
    ) -> nn.Module:
        """An average."""
        if data.other_model is None:
            raise OptionError("average needs another model: give AttackData(other_model=…)")
        changed = average(model, data.other_model, share=self.share)
        re_estimate(changed, data.dataset.x_train[:_STATISTICS])
        return changed

    def inputs_seen(self, data: AttackData) -> int:
        """Those that statistics are estimated with."""
        return min(_STATISTICS, len(data.dataset.y_train))


@register("stochastic-average")
@dataclass(frozen=True, kw_only=True)
class StochasticAverage(TrainingAttack):
    """Fine-tune, average the weights after every epoch, and re-estimate running statistics."""

    source: ClassVar[str] = "Izmailov et al., UAI 2018"

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:
        """A third of the host's own training at rising rates, then all of it."""
        made = partial(scaled, cls, recipe)
        return {
            "0.1× rate": made(rate=0.1),
            "full rate": made(),
            "full rate, as long as the training": made(epochs=1.0),
        }

    def apply(self, model: nn.Module, data: AttackData, generator: torch.Generator) -> nn.Module:
        """An average over its training."""
        changed = copy_of(model)
        mean: Any = AveragedModel(changed, use_buffers=False)
        epoch = max(1, len(data.dataset.y_train) // self.batch_size)
        learn(
            changed,
            data,
            self.recipe(drawn_seed(generator)),
            lambda x, y: F.cross_entropy(changed(x), y),
            after_step=lambda done: None if done % epoch else mean.update_parameters(changed),
        )
        averaged: nn.Module = mean.module.eval()
        re_estimate(averaged, data.dataset.x_train[:_STATISTICS])
        return averaged
