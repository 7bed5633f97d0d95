"""Low-variance resampling: forget whatever a layer's inputs hardly ever excite.

A layer's function lives in the directions in which its inputs vary; a mark that was pressed into
the weights for a reading of the weights alone lies in all directions alike. So the component of
every row outside of the inputs' top subspace can be thrown away, or replaced by noise of the same
length, at little cost in accuracy, and the mark loses what it had there. A short fine-tune mends
the rest, and the whole can be repeated: the strongest removal known to us.

Source:
    This project. Pruning by what the inputs excite is older: Liu, Dolan-Gavitt, Garg,
    "Fine-Pruning", RAID 2018, does it with whole channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from modeldeed.attacks._input_moments import KINDS, Moments, measured
from modeldeed.attacks._layers import copy_of, re_estimate, weighted_layers
from modeldeed.attacks._learning import scaled
from modeldeed.attacks._repeated_resampling import RepeatedResampling
from modeldeed.attacks.registry import Attack, register
from modeldeed.errors import OptionError
from modeldeed.training import Recipe

__all__ = ["LowVarianceResampling", "low_variance_resampling"]

Fill = Literal["zero", "noise"]


def low_variance_resampling(
    model: nn.Module,
    calibration: Tensor,
    *,
    energy: float = 0.95,
    fill: Fill = "zero",
    generator: torch.Generator,
) -> nn.Module:
    """Keep of every row what the layer's inputs excite; zero the rest or resample it.

    For every convolution and linear layer the input vectors of the calibration samples (patches,
    for a convolution) give a mean μ and a centered covariance. Its leading eigenvectors up to the
    wanted share of variance, and μ itself, span the subspace that is kept: layers without a bias
    of their own keep their mean output. All layers are measured on the model as given; running
    statistics are re-estimated afterwards on the same samples.

    Args:
        model: the suspect; not changed.
        calibration: unlabelled inputs, shape ``(N, *)``, N ≥ 2, on the model's device; 140 were
            enough on digits.
        energy: share of the inputs' variance that is kept, in (0, 1].
        fill: what takes the place of the rest: ``"zero"``, or ``"noise"``: Gaussian, in the same
            directions, of each row's removed length.
        generator: source of the noise, on the CPU.

    Returns:
        A changed copy in evaluation mode.

    Raises:
        OptionError: an argument is out of range, or the model has no such layer.

    Note:
        Cost: one forward pass and one eigendecomposition of D × D for each layer.
    """
    if not 0 < energy <= 1:
        raise OptionError(f"energy is a share of variance in (0, 1], got {energy}")
    if fill not in ("zero", "noise"):
        raise OptionError(f"fill is 'zero' or 'noise', got {fill!r}")
    changed = copy_of(model)
    layers = weighted_layers(changed, KINDS)
    for layer, moments in measured(changed, layers, calibration):
        kept = _subspace(moments, energy)
        weight = layer.weight.data
        groups = kept.shape[0]
        rows = weight.double().reshape(groups, -1, kept.shape[1])
        inside = rows @ kept @ kept.mT
        if fill == "noise":
            inside = inside + _noise(rows - inside, kept, generator)
        weight.copy_(inside.reshape(weight.shape))
    re_estimate(changed, calibration)
    return changed


def _subspace(moments: Moments, energy: float) -> Tensor:
    """An orthonormal basis ``(G, D, k)`` of what is kept; zero columns where a group keeps less."""
    values, vectors = torch.linalg.eigh(moments.covariance())
    values, vectors = values.flip(-1).clamp_min(0), vectors.flip(-1)
    reached = values.cumsum(-1) / values.sum(-1, keepdim=True).clamp_min(1e-300)
    # Everything before the wanted share is reached, and the direction that reaches it.
    wanted = torch.cat([torch.zeros_like(reached[:, :1]), reached[:, :-1]], 1) < energy
    kept = vectors * wanted[:, None, :]
    mean = moments.mean()[:, :, None]
    rest = mean - kept @ (kept.mT @ mean)
    length = rest.norm(dim=1, keepdim=True)
    # A mean that lies in the subspace already leaves rounding noise, which is no direction.
    direction = torch.where(length > 1e-9 * mean.norm(dim=1, keepdim=True), rest / length, 0.0)
    return torch.cat([kept, direction.nan_to_num()], -1)


def _noise(removed: Tensor, kept: Tensor, generator: torch.Generator) -> Tensor:
    """Gaussian rows outside of the kept subspace, as long as what was removed."""
    drawn = torch.randn(removed.shape, generator=generator, dtype=removed.dtype).to(removed.device)
    outside = drawn - drawn @ kept @ kept.mT
    length = outside.norm(dim=-1, keepdim=True)
    scale: Tensor = removed.norm(dim=-1, keepdim=True) / torch.where(length > 0, length, 1.0)
    return outside * scale


@register("low-variance-resampling")
@dataclass(frozen=True, kw_only=True)
class LowVarianceResampling(RepeatedResampling):
    """Resample what the inputs hardly excite, fine-tune, and again.

    Attributes:
        energy: see `low_variance_resampling`.
        fill: see `low_variance_resampling`.
    """

    energy: float = 0.95
    fill: Fill = "noise"

    @classmethod
    def strengths(cls, recipe: Recipe | None = None) -> Mapping[str, Attack]:
        """Once without any training, then four times with a third of the host's own after each."""
        mended = partial(scaled, cls, recipe)
        return {
            "once, emptied": cls(fill="zero"),
            "once": cls(),
            "once, energy 0.8": cls(energy=0.8),
            "4 passes, fine-tuned": mended(passes=4),
            "4 passes, energy 0.8, fine-tuned": mended(passes=4, energy=0.8),
        }

    def once(self, model: nn.Module, calibration: Tensor, generator: torch.Generator) -> nn.Module:
        """A changed copy; see `low_variance_resampling`."""
        return low_variance_resampling(
            model, calibration, energy=self.energy, fill=self.fill, generator=generator
        )
