"""Sensitivity resampling: forget whatever the outputs hardly depend on.

Low-variance resampling spares what the inputs of a layer excite, and with it a mark that is read
there (`reading="coloured"`). This is its answer: the weights are looked at in the coordinates in
which a layer's inputs vary, row by row, and the coordinates that the model's outputs depend on
least are resampled, however strongly the inputs excite them. Rows that matter little lose their
leading coordinates as well. A fine-tune mends the rest, and the whole is repeated.

Source:
    This project. Saliency is that of Y. LeCun, J. Denker, S. Solla, "Optimal Brain Damage", NIPS
    1989, with a Gauss-Newton diagonal in the inputs' eigenvectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from modeldeed.attacks._input_moments import KINDS, measured
from modeldeed.attacks._layers import copy_of, re_estimate, weighted_layers
from modeldeed.attacks._learning import scaled
from modeldeed.attacks._repeated_resampling import RepeatedResampling
from modeldeed.attacks.registry import Attack, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["SensitivityResampling", "sensitivity_resampling"]

_PIECE = 16  # samples whose outputs are mixed into one gradient
_DRAWS = 4  # mixtures of each piece


def sensitivity_resampling(
    model: nn.Module, calibration: Tensor, *, loss: float, generator: torch.Generator
) -> nn.Module:
    """Resample the coordinates of every layer that outputs depend on least.

    Args:
        model: not changed.
        calibration: unlabelled inputs, shape ``(N, *)``, N ≥ 2.
        loss: share of a layer's total saliency that may be resampled, in (0, 1).
        generator: of mixtures of outputs and of noise, on the CPU.

    Returns:
        The copy in evaluation mode; running statistics are re-estimated.

    Raises:
        OptionError: ``loss`` is out of range, or there is no layer of a known kind.

    Note:
        Cost: one eigendecomposition of D × D for each layer, and N / 4 backward passes of 16.
    """
    if not 0 < loss < 1:
        raise OptionError(f"loss is a share of the saliency in (0, 1), got {loss}")
    changed = copy_of(model)
    layers = measured(changed, weighted_layers(changed, KINDS), calibration)
    bases = [torch.linalg.eigh(moments.covariance())[1] for _, moments in layers]
    slopes = _squared_slopes(changed, [layer for layer, _ in layers], bases, calibration, generator)
    for (layer, _), basis, slope in zip(layers, bases, slopes, strict=True):
        groups, width, _ = basis.shape
        seen = layer.weight.data.double().reshape(groups, -1, width) @ basis
        free = _least(slope * seen.square(), loss)
        noise = torch.randn(seen.shape, generator=generator, dtype=seen.dtype).to(seen.device)
        size = (seen.square() * free).sum(-1, keepdim=True) / free.sum(-1, keepdim=True).clamp_min(
            1
        )
        fresh = torch.where(free, noise * size.sqrt(), seen)
        layer.weight.data.copy_((fresh @ basis.mT).reshape(layer.weight.shape))
    re_estimate(changed, calibration)
    return changed


def _least(saliency: Tensor, loss: float) -> Tensor:
    """Mark the smallest entries that together have at most a share of the sum."""
    values, order = saliency.flatten().sort()
    few = values.cumsum(0) <= loss * values.sum()
    return torch.empty_like(few).scatter_(0, order, few).view(saliency.shape)


def _squared_slopes(
    model: nn.Module,
    layers: list[Any],
    bases: list[Tensor],
    inputs: Tensor,
    generator: torch.Generator,
) -> list[Tensor]:
    """For each layer ``(G, O / G, D)``: squared slopes of all outputs along the basis, summed.

    A mixture of outputs with independent signs has as expected squared slope the sum of those of
    all outputs of all samples.
    """
    totals = [torch.zeros(()) for _ in layers]
    weights: list[nn.Parameter] = [layer.weight for layer in layers]
    frozen = [weight for weight in weights if not weight.requires_grad]
    for weight in frozen:
        weight.requires_grad_()
    for piece in torch.split(inputs, _PIECE):
        outputs = model(piece)
        for draw in range(_DRAWS):
            signs = torch.randint(0, 2, outputs.shape, generator=generator).to(outputs) * 2 - 1
            mixed = (outputs * signs).sum()
            found = torch.autograd.grad(
                mixed, weights, retain_graph=draw + 1 < _DRAWS, allow_unused=True
            )
            for index, (slope, basis) in enumerate(zip(found, bases, strict=True)):
                rows = torch.zeros_like(weights[index]) if slope is None else slope
                groups, width, _ = basis.shape
                along = rows.double().reshape(groups, -1, width) @ basis
                totals[index] = totals[index].to(along.device) + along.square()
    for weight in frozen:
        weight.requires_grad_(False)
    return totals


@register("sensitivity-resampling")
@dataclass(frozen=True, kw_only=True)
class SensitivityResampling(RepeatedResampling):
    """Resample what outputs hardly depend on, fine-tune, and again.

    Attributes:
        loss: see `sensitivity_resampling`.
    """

    loss: float = 0.05

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:
        """Once without any training, then four times with a third of the host's own after each."""
        mended = partial(scaled, cls, recipe, passes=4)
        return {
            "once, 5 %": cls(loss=0.05),
            "once, 20 %": cls(loss=0.2),
            "4 passes of 20 %, fine-tuned": mended(loss=0.2),
            "4 passes of 50 %, fine-tuned": mended(loss=0.5),
        }

    def once(self, model: nn.Module, calibration: Tensor, generator: torch.Generator) -> nn.Module:
        """A changed copy; see `sensitivity_resampling`."""
        return sensitivity_resampling(model, calibration, loss=self.loss, generator=generator)
